"""What is read from a page."""

from src.kube.pages import Field, Form, read_page


def test_a_form_is_read_as_dex_writes_it() -> None:
    page = read_page(
        "<!DOCTYPE html><html><head><title>deployKF  Auth</title><style>form { color: red }</style></head><body>"
        '<form method="post" action="/dex/auth/local/login?back=&amp;state=abc">'
        '<input tabindex="1" required id="login" name="login" type="text" value="a&amp;b" autofocus>'
        '<input name="password" type="PASSWORD"/><button type="submit">Login</button></form>'
        "<script>var a = '<form>';</script><p>Hello\n world</p></body></html>"
    )

    assert page.title == "deployKF Auth"
    assert page.text == "Login Hello world"
    assert page.forms == (
        Form(
            method="POST",
            action="/dex/auth/local/login?back=&state=abc",
            fields=(Field(name="login", kind="text", value="a&b"), Field(name="password", kind="password", value="")),
        ),
    )


def test_only_hidden_values_are_sent_by_themselves() -> None:
    page = read_page(
        '<form><input type="hidden" name="req" value="r"><input name="x" value="y"><input type="submit"></form>'
    )

    assert page.forms[0].values() == {"req": "r"}
    assert page.forms[0].method == "GET"


def test_inputs_outside_of_forms_and_broken_html_are_no_obstacle() -> None:
    page = read_page(
        '<input name="stray"><form action="/a"><input name="in"></form><input name="late"><a href="/b?c=1&amp;d=2">x<'
    )

    assert [[field.name for field in form.fields] for form in page.forms] == [["in"]]
    assert page.links == ("/b?c=1&d=2",)


def test_text_that_is_no_html_is_a_page_without_forms() -> None:
    assert read_page('{"a": 1}').text == '{"a": 1}'
