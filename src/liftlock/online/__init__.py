"""An upgrade while people keep writing: capture, copy, translate, converge, cut over; and the way back."""
