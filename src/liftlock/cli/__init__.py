"""The command line: options, rendering, exit status. Only this package prints, prompts and exits."""
