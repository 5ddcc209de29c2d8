"""Every way in which a DAG file can be wrong, with what the user is told."""

import pytest

from src.dag import parse_dag
from src.errors import ConfigError
from tests.unit.dag_texts import FILE, VALID, problems_of, system

SHAPE = "write System: first, with name, components and dependencies indented below it"
NONE = "components names none: there is nothing to run; write components: ['a', 'b']"
ALPHABET = "may only have letters, digits, '.', '_', '-', and begins with a letter or digit"
REMOVE = "remove one of them"
REPOSITORY_HINT = "write https://host/path, ssh://host/path, git@host:path, or the path of a folder"
PROTOCOL = "has a protocol that is not one of https, http, ssh, git, file"
LONG = "x" * 101
CUT = "x" * 57 + "..."

YAML = {
    "---\n- a\n- b\n--- x": ["4: a second document begins with '---'; write one DAG per file"],
    system(VALID) + "---\nSystem: {}": ["5: a second document begins with '---'; write one DAG per file"],
    "System:\n  name: n\n   components: [a]": [
        "3: this key is indented below a value; put it in the same column as the key above it"
    ],
    "System:\n  name: n\n components: [a]": [
        "3: the indentation, a quote or a bracket is wrong here; indent alike what belongs together"
    ],
    "System:\n\tname: n": ["2: a tab is used to indent; indent with blanks"],
    "System:\n  components: [a, b\n  name: n": [
        "3: the bracket opened on line 2 is not closed here; write the missing ',' or bracket"
    ],
    "System:\n  name: 'n\n  components: [a]": [
        "2: a quote that begins here is not closed, or has a wrong '\\'; close it, or use single quotes"
    ],
    'System:\n  name: "\\q"': [
        "2: a quote that begins here is not closed, or has a wrong '\\'; close it, or use single quotes"
    ],
    "System:\n  name: @n": ["2: a value begins with a character that YAML keeps for itself; put the value in quotes"],
    "System:\n  name: a: b": ["2: a ': ' stands where none can be; put the whole value in quotes"],
    "System:\n  name: \x07": ["2: has the character U+0007, which YAML does not allow; remove it"],
    "System:\n  name: \ud800": ["2: has the character U+D800, which YAML does not allow; remove it"],
    'System:\n  name: "\\0"': [
        "2: a value has a character that no file name or variable can have; remove it",
        "2: " + NONE,
    ],
    "System:\n  name: {{x}}-y": ["2: the placeholder '{{x}}' was left in; write a value of your own"],
    "System:\n  name: n\n  #\n  x: {{x\n  y: z": ["4: a placeholder '{{…}}' was left in; write a value of your own"],
    "System:\n  name: *x": ["2: nothing above is named &x; write the value out; put a text with '*' in quotes"],
    "System: &s\n  name: *s": ["2: the alias 's' is inside of what it stands for; write the value out"],
    system("name: !!python/name:os.system x\ncomponents: !bar [a]"): [
        "2: the YAML tag 'python/name:os.system' is not supported; remove it",
        "3: the YAML tag '!bar' is not supported; remove it",
    ],
    "[" * 10_000: ["1: values are nested too deep; a DAG file needs 5 levels at most"],
    "- " * 10_000: ["1: values are nested too deep; a DAG file needs 5 levels at most"],
    "{a: " * 10_000: ["1: values are nested too deep; a DAG file needs 5 levels at most"],
    "a: &l0 [x]\n" + "".join(f"b{n}: &l{n + 1} [{', '.join([f'*l{n}'] * 9)}]\n" for n in range(60)): [
        "6: aliases expand to more than 100,000 values; write the values out"
    ],
    system("name: n\nname: m\ncomponents: [a]\noptions:\n  a: {cpu: 1, cpu: 2}"): [
        "3: the key 'name' is written twice (first on line 2); remove one of them",
        "6: the key 'cpu' is written twice (first on line 6); remove one of them",
    ],
    system("name: n\n<<: [1]\ncomponents: [a]"): [
        "3: '<<' takes mappings only; write a mapping or an alias of one",
    ],
    "? [a]\n: b": ["1: a key is a list or a mapping; write a word; put one with brackets in quotes"],
}

SHAPES = {
    "": [f"1: the file is empty; {SHAPE}"],
    "# only\n": [f"1: the file is empty; {SHAPE}"],
    "\nnull": [f"1: the file is empty; {SHAPE}"],
    "\n- System:\n    name: a": [f"2: the file is a list; one file holds one DAG: {SHAPE}"],
    "hello": [f"1: the file is text, not a DAG; {SHAPE}"],
    "42": [f"1: the file is a number, not a DAG; {SHAPE}"],
    "System: {{x}}": ["1: the placeholder '{{x}}' was left in; write a value of your own"],
    "- &a {{x}}\n- *a": [
        "1: the placeholder '{{x}}' was left in; write a value of your own",
        f"1: the file is a list; one file holds one DAG: {SHAPE}",
    ],
    "System: {name: n, components: [&a 'b c', *a, &d [], *d]}": [
        f"1: the component name 'b c' {ALPHABET}; rename the component, to b-c for example",
        f"1: component 'b c' is listed twice (first on line 1); {REMOVE}",
        "1: component 3 is a list, not a name; write a name in quotes",
        "1: component 4 is a list, not a name; write a name in quotes",
    ],
    "System: {name: n, components: [a], dependencies: [&d [], *d]}": [
        "1: a dependency has 0 entries, not two or three; write ['from', 'to', 1]"
    ],
    "{}": [f"1: there is no System:; {SHAPE}"],
    "name: n\ncomponents: [a]": [f"1: there is no System:; {SHAPE}"],
    "system:\n  name: n\n  components: [a]": ["1: the first key is 'system'; write System:"],
    "Sytem:\n  name: n": ["1: the first key is 'Sytem'; write System:", f"2: {NONE}"],
    "System:\n": [f"1: System is empty, not a mapping; {SHAPE}"],
    "System: 3": [f"1: System is a number, not a mapping; {SHAPE}"],
    "\nSystem: [a]": [f"2: System is a list, not a mapping; {SHAPE}"],
    "System:\n  name: n\ncomponents: [a, a]\noptoins: {}\n": [
        "3: 'components' stands outside of System; indent it below System:, as components:",
        f"3: component 'a' is listed twice (first on line 3); {REMOVE}",
        "4: 'optoins' stands outside of System; indent it below System:, as options:",
    ],
    system("name: n\ncomponent: [a]\ndependancies: [[a, b]]\nrepo: ext::x\nmedia: 'https://x'"): [
        "3: unknown key 'component'; write components",
        "4: unknown key 'dependancies'; write dependencies",
        "4: the dependency names 'b', which is not in components; write a name from components, or add it there",
        "5: unknown key 'repo'; write repository",
        f"5: repository {PROTOCOL}; {REPOSITORY_HINT}",
        "6: unknown key 'media'; write input_media",
        "6: input_media is a URL, not a path; download it, then write the path of the file",
    ],
}

APPLICATION = {
    "#": "2: there is no name; write name: my_app",
    "name:": "2: name is empty; write name: my_app",
    "name: 1": "2: name is a number, not text; write name: '1', in quotes",
    "name: yes": "2: name is true or false in YAML, not text; write name: 'yes', in quotes",
    "name: 2024-01-01": "2: name is a date in YAML, not text; write name: '2024-01-01', in quotes",
    "name: [a]": "2: name is a list, not text; write name: my_app",
    "name: ' '": "2: the name '' is empty; write name: my_app",
    "name: a/b": "2: the name 'a/b' has a '/' or a control character: it becomes a folder; write name: my_app",
    'name: "a\\tb"': "2: the name 'a\\tb' has a '/' or a control character: it becomes a folder; write name: my_app",
    "name: ..": "2: the name '..' begins with '.': it becomes a folder; write name: my_app",
    "name: .a": "2: the name '.a' begins with '.': it becomes a folder; write name: my_app",
    f"name: {LONG}": f"2: the name '{CUT}' is longer than 100 characters; write name: my_app",
    f"name: {'日' * 90}": f"2: the name '{'日' * 57}...' is longer than 100 characters; write name: my_app",
    "name: '{{x}}'": "2: the name '{{x}}' is a placeholder that was left in; write name: my_app",
    "name: ...": "2: the name '...' is a placeholder that was left in; write name: my_app",
}

COMPONENTS = {
    "": NONE,
    "[]": NONE,
    "a": "components is text, not a list; write components: ['a', 'b']",
    "{a: b}": "components is a mapping, not a list; write components: ['a', 'b']",
    "[1]": "component 1 is a number, not a name: '1'; write it in quotes: '1'",
    "[1.5]": "component 1 is a number, not a name: '1.5'; write it in quotes: '1.5'",
    "[a, yes]": "component 2 is true or false in YAML, not a name: 'yes'; write it in quotes: 'yes'",
    "[2024-01-01]": "component 1 is a date in YAML, not a name: '2024-01-01'; write it in quotes: '2024-01-01'",
    "[a, null]": "component 2 is empty, not a name; write a name in quotes",
    "[a, [b]]": "component 2 is a list, not a name; write a name in quotes",
    "[a, {b: c}]": "component 2 is a mapping, not a name; write a name in quotes",
    "['']": "the component name '' is empty; give the component another name",
    "[a/b]": f"the component name 'a/b' {ALPHABET}; rename the component, to a-b for example",
    "[-a]": f"the component name '-a' {ALPHABET}; rename the component, to a for example",
    "[.a]": f"the component name '.a' {ALPHABET}; rename the component, to a for example",
    "[a b]": f"the component name 'a b' {ALPHABET}; rename the component, to a-b for example",
    '["a\\nb"]': f"the component name 'a\\nb' {ALPHABET}; rename the component, to a-b for example",
    "[$(reboot)]": f"the component name '$(reboot)' {ALPHABET}; rename the component, to reboot for example",
    "[a..b]": "the component name 'a..b' contains '..'; rename the component, to a-b for example",
    "[save-media]": "the component name 'save-media' is reserved for the tool itself; give the component another name",
    "[Save_Media]": "the component name 'Save_Media' is reserved for the tool itself; give the component another name",
    "[logs]": "the component name 'logs' is reserved for the tool itself; give the component another name",
    f"[{LONG}]": (
        f"the component name '{CUT}' is longer than 100 characters; rename the component, to {'x' * 40} for example"
    ),
    "[a, b, a]": f"component 'a' is listed twice (first on line 3); {REMOVE}",
    "[a_b, A-b]": "'A-b' and 'a_b' (line 3) are both a-b to Kubernetes; rename one of them",
    "[filter, Filter]": "'Filter' and 'filter' (line 3) are both filter to Kubernetes; rename one of them",
    "{{x}}": "the placeholder '{{x}}' was left in; write a value of your own",
    "[...]": "the placeholder '...' was left in; write the name of a component",
    "[component-name-1]": "the placeholder 'component-name-1' was left in; write the name of a component",
    "['{{cookiecutter.x}}']": "the placeholder '{{cookiecutter.x}}' was left in; write the name of a component",
    "[{{cookiecutter.x}}]": "the placeholder '{{cookiecutter.x}}' was left in; write a value of your own",
}

EDGE = "write ['from', 'to', 1]"
PROBABILITY = "is not a number above 0 and up to 1; write a number such as 1 or 0.6, without quotes"

DEPENDENCIES = {
    "x": "dependencies is text, not a list; write dependencies: [['a', 'b', 1]]",
    "{a: b}": "dependencies is a mapping, not a list; write dependencies: [['a', 'b', 1]]",
    "[a, ]": f"a dependency is text, not a list of two or three; {EDGE}",
    "[[]]": f"a dependency has 0 entries, not two or three; {EDGE}",
    "[[a]]": f"a dependency has 1 entries, not two or three; {EDGE}",
    "[[a, b, 1, 1]]": f"a dependency has 4 entries, not two or three; {EDGE}",
    "[{a: b}]": f"a dependency is a mapping, not a list of two or three; {EDGE}",
    "[null]": f"a dependency is empty, not a list of two or three; {EDGE}",
    "[...]": f"the placeholder '...' was left in; {EDGE}",
    "[[detect, ...]]": "the placeholder '...' was left in; write the name of a component",
    "[[detect, detect]]": "component 'detect' depends on itself; remove this dependency",
    "[[detect, detct]]": "the dependency names 'detct', which is not in components; write 'detect'",
    "[[Detect, a]]": "the dependency names 'Detect', which is not in components; write 'detect'",
    "[{{x}}]": "the placeholder '{{x}}' was left in; write a value of your own",
    "{{x}}": "the placeholder '{{x}}' was left in; write a value of your own",
    "[[a, {{x}}]]": "the placeholder '{{x}}' was left in; write a value of your own",
    "[[a, b, {{x}}]]": "the placeholder '{{x}}' was left in; write a value of your own",
    "[[a, zzz]]": (
        "the dependency names 'zzz', which is not in components; write a name from components, or add it there"
    ),
    "[[1, a]]": "a name in a dependency is a number, not a name: '1'; write it in quotes: '1'",
    "[[a, no]]": "a name in a dependency is true or false in YAML, not a name: 'no'; write it in quotes: 'no'",
    "[[a, [b]]]": "a name in a dependency is a list, not a name; write a name in quotes",
    "[[a, b], [a, b, 0.5]]": f"the dependency a -> b is listed twice (first on line 4); {REMOVE}",
    "[[b, a], [a, b]]": "the dependencies go in a circle: b -> a -> b; remove one of these dependencies",
    "[[a, b], [b, detect], [c, b], [detect, a]]": (
        "the dependencies go in a circle: a -> b -> detect -> a; remove one of these dependencies"
    ),
} | {
    f"[[a, b, {written}]]": f"the probability {said or repr(written)} {PROBABILITY}"
    for written, said in {
        "0": "",
        "0.0": "",
        "1.1": "",
        "-0.5": "",
        "true": "",
        ".nan": "",
        ".inf": "",
        "1e999": "",
        "1e-999": "",
        "0x1": "",
        "1:30": "",
        "high": "",
        "'1'": "'1'",
        "null": "",
        "[1]": "a list",
    }.items()
}


REPOSITORIES = {
    "''": "is empty",
    "[a]": "is a list, not text",
    "{a: b}": "is a mapping, not text",
    "'-x'": "begins with '-'",
    "'--upload-pack=x'": "begins with '-'",
    "ext::sh -c x": PROTOCOL,
    "fd::3": PROTOCOL,
    "ftp://u:hunter2@h/x": PROTOCOL,
    "'https://'": "names no host",
    "https://hunter2@h": "names no repository on its host",
    "https://u:hunter2@h:abc/x": "has a host or port that is not valid",
    "https://u:hunter2@[x/y": "has a host or port that is not valid",
    "https://u:hunter2@h/a b": "has blanks in its URL",
    "ssh://-oProxyCommand=x/y": "names no host",
    "git@-oProxyCommand=x:y": "has a host that is not valid",
    "'git@host:-x'": "has a host that is not valid",
    "'https://u:hunter2@h/{{x}}'": "is a placeholder that was left in",
    '"https://u:hunter2@h/a\\tb"': "has control characters",
    "file://": "names no folder",
}

MEDIA_HINT = "write the path of a file or folder"

MEDIA = {
    "''": f"input_media is empty; {MEDIA_HINT}, or remove the key",
    "['a', ' ']": f"input_media is empty; {MEDIA_HINT}, or remove the key",
    "[null]": f"input_media has an entry that is empty, not a path; {MEDIA_HINT}",
    "[[a]]": f"input_media has an entry that is a list, not a path; {MEDIA_HINT}",
    "{a: b}": f"input_media is a mapping, not a path; {MEDIA_HINT}",
    "https://h/x.mp4": "input_media is a URL, not a path; download it, then write the path of the file",
    "[{{x}}]": "the placeholder '{{x}}' was left in; write a value of your own",
    "...": f"the placeholder '...' was left in; {MEDIA_HINT}",
    "'{{x}}.mp4'": f"the placeholder '{{{{x}}}}.mp4' was left in; {MEDIA_HINT}",
}

REVISIONS = ["'-x'", "--force", "a b", "a..b", "'a:b'", "''", "+a", "HEAD~1", "'a@{1}'", "/a", ".a", "x" * 251]


@pytest.mark.parametrize("text", YAML)
@pytest.mark.parametrize("library", ["libyaml", "pure"])
def test_yaml(text: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if library == "pure":
        monkeypatch.delattr("yaml.CSafeLoader")
    assert problems_of(text) == YAML[text]


def test_other_errors_of_the_library_are_passed_on() -> None:
    assert problems_of("%YAML 2.0\n---\na: b") == [
        "1: is not valid YAML (found incompatible YAML document); correct this line"
    ]


@pytest.mark.parametrize("escape", ["\\ud800", "\\Uffffffff", "\\U00110000"])
@pytest.mark.parametrize("library", ["libyaml", "pure"])
def test_escapes_that_are_no_characters(escape: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if library == "pure":
        monkeypatch.delattr("yaml.CSafeLoader")
    assert problems_of(f'System:\n  name: "{escape}"\n  components: [a]')


@pytest.mark.parametrize("text", SHAPES)
def test_shapes(text: str) -> None:
    assert problems_of(text) == SHAPES[text]


@pytest.mark.parametrize("line", APPLICATION)
def test_application(line: str) -> None:
    components = "components: [a]"
    text = system(f"{components}" if line == "#" else f"{line}\n{components}")
    assert problems_of(text) == [APPLICATION[line]]


@pytest.mark.parametrize("written", COMPONENTS)
def test_components(written: str) -> None:
    assert problems_of(system(f"name: n\ncomponents: {written}")) == [f"3: {COMPONENTS[written]}"]


def test_no_components() -> None:
    assert problems_of(system("name: n")) == [f"2: {NONE}"]


@pytest.mark.parametrize("written", DEPENDENCIES)
def test_dependencies(written: str) -> None:
    text = system(f"name: n\ncomponents: [a, b, c, detect]\ndependencies: {written}")
    assert problems_of(text) == [f"4: {DEPENDENCIES[written]}"]


def test_a_refused_component_is_not_also_called_unknown() -> None:
    text = system("name: n\ncomponents: [a, 'b c', b-c]\ndependencies: [[a, 'b c'], [b-c, a]]\noptions: {'b c': {}}")
    assert problems_of(text) == [f"3: the component name 'b c' {ALPHABET}; rename the component, to b-c for example"]


def test_cycles_are_shown_each_on_the_line_that_closes_it() -> None:
    edges = ["[a, b]", "[b, c]", "[c, a]", "[x, y]", "[y, x]", "[c, x]"]
    body = "name: n\ncomponents: [a, b, c, x, y]\ndependencies:\n" + "\n".join(f"- {edge}" for edge in edges)
    assert problems_of(system(body)) == [
        "7: the dependencies go in a circle: a -> b -> c -> a; remove one of these dependencies",
        "9: the dependencies go in a circle: x -> y -> x; remove one of these dependencies",
    ]


def test_ten_cycles_are_enough() -> None:
    pairs = [(f"a{n}", f"b{n}") for n in range(12)]
    names = ", ".join(name for pair in pairs for name in pair)
    edges = ", ".join(f"[{a}, {b}], [{b}, {a}]" for a, b in pairs)
    assert len(problems_of(system(f"name: n\ncomponents: [{names}]\ndependencies: [{edges}]"))) == 10


def test_a_cycle_of_thousands() -> None:
    names = [f"c{n}" for n in range(5000)]
    edges = [f"[{a}, {b}]" for a, b in zip(names, names[1:] + names[:1], strict=True)]
    (line,) = problems_of(system(f"name: n\ncomponents: [{', '.join(names)}]\ndependencies: [{', '.join(edges)}]"))
    assert line.startswith("4: the dependencies go in a circle: c0 -> c1 -> c2 -> c3 -> c4 -> c5 -> … (4991 more) -> ")
    assert line.endswith(" -> c4997 -> c4998 -> c4999 -> c0; remove one of these dependencies")


@pytest.mark.parametrize("written", REPOSITORIES)
def test_repositories_never_show_what_they_hold(written: str) -> None:
    (line,) = problems_of(system(f"{VALID}\nrepository: {written}\nrevision: main"))
    assert line == f"5: repository {REPOSITORIES[written]}; {REPOSITORY_HINT}"
    assert "hunter2" not in line


def test_a_host_without_protocol() -> None:
    assert problems_of(system(f"{VALID}\nrepository: github.com/user/x")) == [
        "5: repository is a host without a protocol; put https:// before it, or ./ where it is a folder"
    ]


@pytest.mark.parametrize("written", REVISIONS)
def test_revisions(written: str) -> None:
    (line,) = problems_of(system(f"{VALID}\nrepository: /r\nrevision: {written}"))
    assert line.startswith("6: revision '")
    assert line.endswith(" is not a branch, tag or commit; write a branch, a tag or a commit")


def test_revisions_of_other_kinds() -> None:
    hint = "write a branch, a tag or a commit"
    assert problems_of(system(f"{VALID}\nrepository: /r\nrevision: [a]")) == [
        f"6: revision is a list, not text; {hint}"
    ]
    assert problems_of(system(f"{VALID}\nrepository: /r\nrevision: '{{{{x}}}}'")) == [
        f"6: the placeholder '{{{{x}}}}' was left in; {hint}"
    ]
    assert problems_of(system(f"{VALID}\nrevision: main")) == [
        "5: there is a revision, but no repository; write repository: URL, or remove revision"
    ]


@pytest.mark.parametrize("written", MEDIA)
def test_media(written: str) -> None:
    assert problems_of(system(f"{VALID}\ninput_media: {written}")) == [f"5: {MEDIA[written]}"]


def test_all_problems_at_once_by_line() -> None:
    text = system(
        "options: {b: {retires: 2}, detekt: {cpu: 1}}\n"
        "dependencies:\n"
        "- [b, detect, 2]\n"
        "- [detect, b]\n"
        "- [b, detect]\n"
        "- [b, b]\n"
        "repository: ext::x\n"
        "revision: -x\n"
        "input_media: ''\n"
        "name: .x\n"
        "components: [b, detect, B]\n"
        "input_medai: x"
    )
    assert problems_of(text) == [
        "2: unknown option 'retires' of 'b'; write retries",
        "2: options for 'detekt', which is not in components; write 'detect'",
        f"4: the probability '2' {PROBABILITY}",
        "6: the dependencies go in a circle: detect -> b -> detect; remove one of these dependencies",
        "7: component 'b' depends on itself; remove this dependency",
        f"8: repository {PROTOCOL}; {REPOSITORY_HINT}",
        "9: revision '-x' is not a branch, tag or commit; write a branch, a tag or a commit",
        f"10: input_media is empty; {MEDIA_HINT}, or remove the key",
        "11: the name '.x' begins with '.': it becomes a folder; write name: my_app",
        "12: 'B' and 'b' (line 12) are both b to Kubernetes; rename one of them",
    ]


def test_thousands_of_problems_are_counted_not_listed() -> None:
    names = [f"component-{n}" for n in range(1000)]
    edges = [f"[{name}, compnent{name}]" for name in names]
    with pytest.raises(ConfigError) as caught:
        parse_dag(system(f"name: n\ncomponents: [{', '.join(names)}]\ndependencies: [{', '.join(edges)}]"), FILE)
    assert caught.value.message == "dag.yaml: 1000 problems"
    assert len(caught.value.details) == 101
    assert caught.value.details[-1] == "dag.yaml: and 900 more"
