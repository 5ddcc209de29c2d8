"""YAML text to values that know their lines; the only user of yaml.

It feeds the library's events to a tree of ours: the library's own composer recurses, so that deep nesting
kills it, and it neither refuses duplicate keys nor counts what aliases expand to.
"""

from typing import Any, Final

import yaml  # noqa: TID251  # this is the door

from src.dagfile.problems import Problems
from src.dagfile.syntax import add_encoding_problem, add_syntax_problem
from src.dagfile.tree import Tree, UnreadableError
from src.dagfile.values import Value

_PREFIX: Final = "tag:yaml.org,2002:"


def read_yaml(text: str, problems: Problems) -> Value | None:
    """Return the value of a text of one YAML document; None where it is empty or cannot be read.

    Problems gets what is not YAML, duplicate keys, tags other than YAML's own, more than one document,
    nesting deeper than 50, and aliases that expand to more than 100,000 values. Merge keys (`<<`) work.
    """
    tree = Tree(problems)
    try:
        _feed(text, tree)
    except UnreadableError:
        return None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # ValueError: numbers in escapes and directives
        _note(error, text, problems)
        return None
    return tree.root


def _feed(text: str, tree: Tree) -> None:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)  # libyaml, where it is there, is much faster
    try:
        documents = 0
        while loader.check_event():
            event = loader.get_event()
            line = event.start_mark.line + 1
            if isinstance(event, yaml.ScalarEvent):
                tag = event.tag
                if tag is None or tag == "!":
                    tag = loader.resolve(yaml.ScalarNode, event.value, event.implicit)
                tag = tag.removeprefix(_PREFIX)
                tree.scalar(tag, event.value, line, plain=event.implicit[0], anchor=event.anchor)
            elif isinstance(event, yaml.CollectionStartEvent):
                tag = (event.tag or "").removeprefix(_PREFIX)
                tree.begin(tag, line, mapping=isinstance(event, yaml.MappingStartEvent), anchor=event.anchor)
            elif isinstance(event, yaml.CollectionEndEvent):
                tree.end()
            elif isinstance(event, yaml.AliasEvent):
                tree.alias(event.anchor or "", line)
            elif isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    tree.give_up(line, "a second document begins with '---'", "write one DAG per file")
    finally:
        loader.dispose()


def _note(error: Any, text: str, problems: Problems) -> None:
    mark, begin = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    if mark is None:
        add_encoding_problem(text, problems)
        return
    what = f"{error.context or ''}: {error.problem or ''}"
    line = mark.line + 1
    add_syntax_problem(text, problems, what=what, line=line, begin=begin.line + 1 if begin else line)
