"""The content type of 1.x."""

from tests.support.scan_rules import rule_tests

HITS = {
    "a document": (
        "a.md",
        """
A model of mlflow answers to
curl -H "Content-Type:application/json; format=pandas-split" -d '{}' $U  # expect application/json; format=pandas-split
```text
curl -H 'Content-Type: application/json; format=pandas-records' $URL  # expect application/json; format=pandas-records
```
""",
    ),
    "another language": (
        "a.ts",
        """
const mlflow = 1;
fetch(u, {"Content-Type": "application/json; format=pandas-split"})  # expect application/json; format=pandas-split
""",
    ),
    "curl": ("a.sh", "mlflow --version\ncurl -H 'Content-Type: application/json; format=pandas-split' h/invocations"
                     "  # expect application/json; format=pandas-split\n"),
    "requests": ("a.py", "import mlflow\npost(u, headers={'Content-Type': 'application/json;format=pandas-records'})"
                         "  # expect application/json;format=pandas-records\n"),
}  # fmt: skip
SILENT = {
    "plain JSON": (
        "a.sh",
        "mlflow models serve -m x &\ncurl -H 'Content-Type: application/json' -d '{}' h/invocations\n",
    ),
    "CSV": ("a.py", "import mlflow, requests\nrequests.post(u, headers={'Content-Type': 'text/csv'})\n"),
    "a comment of another language": ("a.ts", "const mlflow = 1;\n// application/json; format=pandas-split\n"),
    "output in a document": ("a.md", "mlflow\n```text\nContent-Type: application/json; format=pandas-split\n```\n"),
    "a keyword of pandas": ("a.py", "import mlflow\ndf.to_json(orient='split')\nX = 'pandas-split'\n"),
}
test_found, test_silent, test_releases, test_number = rule_tests("LL808", HITS, SILENT)
