"""What is wrong with a text that is not YAML, in words that say what to write."""

import re

from src.dagfile.problems import Problems

_NOT_ALLOWED = "[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"

TOO_DEEP = "values are nested too deep"
TOO_DEEP_HINT = "a DAG file needs 5 levels at most"


def add_syntax_problem(text: str, problems: Problems, *, what: str, line: int, begin: int) -> None:
    """Note why text is not YAML.

    what: the library's words ("context: problem"); line: where it stopped; begin: where what it was reading began.
    """
    lines = text.splitlines()
    start, before, there = ("".join(lines[number - 1 : number]) for number in (begin, max(line - 1, 1), line))
    in_brackets = "flow" in what
    if "nesting depth" in what:
        problems.add(line, TOO_DEEP, TOO_DEEP_HINT)
    elif "{{" in there or (in_brackets and "{{" in start):
        if all(noted != line for noted, _, _ in problems.found):  # else it was noted with its name
            problems.add(
                begin if "flow" in what else line, "a placeholder '{{…}}' was left in", "write a value of your own"
            )
    elif re.match(r" *\t", there):
        problems.add(line, "a tab is used to indent", "indent with blanks")
    elif "mapping values" in what:
        if re.match(r"\s*[\w-]+:(\s|$)", there) and not re.search(r":.*:(\s|$)", there) and before.strip():
            problems.add(line, "this key is indented below a value", "put it in the same column as the key above it")
        else:
            problems.add(line, "a ': ' stands where none can be", "put the whole value in quotes")
    elif in_brackets:
        problems.add(line, f"the bracket opened on line {begin} is not closed here", "write the missing ',' or bracket")
    elif "quoted scalar" in what:
        problems.add(
            begin, "a quote that begins here is not closed, or has a wrong '\\'", "close it, or use single quotes"
        )
    elif "cannot start any token" in what:
        problems.add(line, "a value begins with a character that YAML keeps for itself", "put the value in quotes")
    elif "block" in what:
        problems.add(line, "the indentation, a quote or a bracket is wrong here", "indent alike what belongs together")
    else:
        problems.add(line, f"is not valid YAML ({' '.join(what.split()).strip(': ')[:120]})", "correct this line")


def add_encoding_problem(text: str, problems: Problems) -> None:
    """Note the first character that YAML does not allow."""
    bad = re.search(_NOT_ALLOWED, text)
    if bad is None:
        problems.add(1, "is not valid YAML", "write a text file as the README shows")
        return
    line = text.count("\n", 0, bad.start()) + 1
    problems.add(line, f"has the character U+{ord(bad[0]):04X}, which YAML does not allow", "remove it")
