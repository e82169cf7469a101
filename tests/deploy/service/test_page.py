"""The page in a real browser, against a real service."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.browser import browser, sync_api

__all__ = ["browser"]

Browser, Page, expect = sync_api.Browser, sync_api.Page, sync_api.expect
expect.set_options(timeout=20_000)  # milliseconds; a busy machine is no fault of the page

PROBLEM = "Name three fruits and three animals."
INJECTION = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"
TEXTS = "#history .text, #columns .text"
CONTROLS = {"button", "link", "textbox", "combobox", "spinbutton", "checkbox", "DisclosureTriangle"}

Open = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, service_url: str) -> Iterator[Open]:
    """Opens pages, each in a context of its own; none may complain."""
    complaints: list[str] = []
    contexts = []

    def open_one(path: str = "/", width: int = 1280, **options: object) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 800}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: said.type == "error" and complaints.append(said.text))
        page.goto(service_url + path)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert [one for one in complaints if "Failed to load resource" not in one] == []


def start(page: Page, problem: str = PROBLEM, *, tokens: int = 16, team: str = "peers") -> None:
    page.get_by_label("Problem", exact=True).fill(problem)
    page.get_by_label("Team", exact=True).select_option(team)
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Tokens per worker", exact=True).fill(str(tokens))
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator("#session")).to_be_visible()


def start_long(page: Page) -> None:
    """A session that does not end by itself while a test looks at it."""
    start(page, tokens=6000)
    expect(page.locator("#status")).to_contain_text("Running")


def stop(page: Page) -> None:
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator("#status")).to_contain_text("Stopped")


def wait_for_end(page: Page) -> None:
    expect(page.locator("#status.ended")).to_be_visible(timeout=30_000)


def shown(page: Page) -> list[str]:
    """All texts of the workers: what is finished, then what is not."""
    return page.locator(TEXTS).all_inner_texts()


def test_a_session_is_typed_started_and_watched_to_its_end(open_page: Open) -> None:
    page = open_page()
    start(page)
    wait_for_end(page)
    expect(page.locator("#session-problem")).to_have_text(PROBLEM)
    expect(page.locator("#columns .column")).to_have_count(2)
    expect(page.locator("#columns .number").first).to_contain_text("16 tokens")
    expect(page.locator("#status")).to_contain_text("32 tokens")
    assert any(text.strip() for text in shown(page))
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_hidden()
    expect(page.get_by_label("Say something to the team", exact=True)).to_be_hidden()


def test_the_page_shows_the_text_that_the_service_keeps(open_page: Open, service_url: str) -> None:
    page = open_page()
    start(page, team="independent")
    wait_for_end(page)
    session = page.request.get(f"{service_url}/v1/sessions/{page.url.split('#')[1]}").json()
    texts = page.locator("#columns .text").all_text_contents()
    assert texts == [worker["text"].lstrip() for worker in session["workers"]]


def test_what_a_person_says_joins_the_shared_history(open_page: Open) -> None:
    page = open_page()
    start_long(page)
    page.get_by_label("Say something to the team", exact=True).fill("Think of the sea, too.")
    page.keyboard.press("Enter")
    said = page.locator("#history li.outside")
    expect(said).to_contain_text("Think of the sea, too.")
    expect(said).to_contain_text("You")
    expect(page.get_by_label("Say something to the team", exact=True)).to_have_value("")
    stop(page)


def test_what_cannot_be_done_is_said_beside_it(open_page: Open) -> None:
    page = open_page()
    start_long(page)
    page.get_by_text("Add a worker").click()
    page.get_by_label("Name of the new worker", exact=True).fill("Alice")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#talk-note")).to_contain_text("already in the team")
    stop(page)


def test_a_worker_joins_and_is_in_the_drawing_of_who_sees_whom(open_page: Open) -> None:
    page = open_page()
    start_long(page)
    page.get_by_text("Add a worker").click()
    page.get_by_label("Name of the new worker", exact=True).fill("Zoe")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#columns .column")).to_have_count(3)
    expect(page.locator("#views")).to_contain_text("Zoe reads:")
    expect(page.get_by_role("button", name="Let Zoe leave the team")).to_be_visible()
    stop(page)


def test_stop_ends_the_session_and_keeps_the_text(open_page: Open) -> None:
    page = open_page()
    start_long(page)
    expect(page.locator("#columns .text").first).not_to_be_empty()
    stop(page)
    assert any(text.strip() for text in shown(page))


def test_a_reload_goes_on_with_the_same_session(open_page: Open) -> None:
    page = open_page()
    start_long(page)
    address = page.url
    expect(page.locator("#columns .text").first).not_to_be_empty()
    page.reload()
    assert page.url == address
    expect(page.locator("#status")).to_contain_text("Running")
    expect(page.locator("#columns .text").first).not_to_be_empty()
    stop(page)
    ended = shown(page)
    page.reload()
    expect(page.locator("#status")).to_contain_text("Stopped")
    expect(page.locator(TEXTS)).to_have_text(ended, use_inner_text=True)


def test_the_link_shows_another_person_the_session_while_it_runs(
    open_page: Open, service_url: str
) -> None:
    page = open_page()
    start_long(page)
    other = open_page(page.url.removeprefix(service_url))
    expect(other.locator("#session-problem")).to_have_text(PROBLEM)
    expect(other.locator("#status")).to_contain_text("Running")
    stop(page)
    expect(other.locator("#status")).to_contain_text("Stopped")
    expect(other.locator(TEXTS)).to_have_text(shown(page), use_inner_text=True)


def test_the_link_is_copied(open_page: Open) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    start(page)
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator("#actions-note")).to_contain_text("The link is copied")
    assert page.evaluate("navigator.clipboard.readText()") == page.url


def test_a_session_is_deleted_after_a_question(open_page: Open, service_url: str) -> None:
    page = open_page()
    start_long(page)
    session = page.url.split("#")[1]
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("dialog", name="Delete this session?")).to_be_visible()
    page.get_by_role("button", name="Keep it", exact=True).click()
    assert page.request.get(f"{service_url}/v1/sessions/{session}").status == 200
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Delete it", exact=True).click()
    expect(page.get_by_label("Problem", exact=True)).to_be_visible()
    assert page.url == f"{service_url}/"
    assert page.request.get(f"{service_url}/v1/sessions/{session}").status == 404
    page.go_back()
    assert session not in page.url
    assert PROBLEM not in page.locator("body").inner_text()


def test_a_lost_connection_is_said_and_found_again(open_page: Open) -> None:
    page = open_page()
    page.route("**/events*", lambda route: route.abort())
    start(page)
    expect(page.locator("#connection")).to_contain_text("connection is lost")
    page.unroute("**/events*")
    wait_for_end(page)
    expect(page.locator("#connection")).to_be_hidden()
    expect(page.locator("#status")).to_contain_text("32 tokens")


def test_the_text_is_saved_as_a_file(open_page: Open, tmp_path: Path) -> None:
    page = open_page()
    start(page)
    wait_for_end(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save text").click()
    download.value.save_as(tmp_path / "session.txt")
    text = (tmp_path / "session.txt").read_text()
    assert text.startswith(PROBLEM)
    assert "Alice: 16 tokens" in text
    assert all(one.strip() in text for one in shown(page))


def test_markup_in_a_problem_and_in_what_is_said_stays_text(open_page: Open) -> None:
    page = open_page()
    start(page, INJECTION, tokens=6000)
    expect(page.locator("#session-problem")).to_have_text(INJECTION)
    page.get_by_label("Say something to the team", exact=True).fill(INJECTION)
    page.keyboard.press("Enter")
    expect(page.locator("#history li.outside")).to_contain_text(INJECTION)
    stop(page)
    assert page.locator("#session img, #session script").count() == 0
    assert page.title().endswith("hogwild")


def test_an_empty_problem_is_refused_in_a_sentence(open_page: Open) -> None:
    page = open_page()
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator("#start-error")).to_contain_text("empty")
    expect(page.get_by_label("Problem", exact=True)).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Problem", exact=True)).to_be_focused()


def test_too_many_workers_are_refused_at_their_field(open_page: Open) -> None:
    page = open_page()
    page.get_by_label("Problem", exact=True).fill(PROBLEM)
    page.get_by_text("More", exact=True).click()
    page.get_by_role("spinbutton", name="Workers").fill("99")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator("#start-error")).to_contain_text("workers")
    expect(page.get_by_role("spinbutton", name="Workers")).to_be_focused()


def test_the_number_of_workers_is_that_of_a_team_with_roles_alone(open_page: Open) -> None:
    page = open_page()
    page.get_by_label("Team", exact=True).select_option("debate")
    page.get_by_text("More", exact=True).click()
    workers = page.get_by_role("spinbutton", name="Workers")
    expect(workers).to_have_value("2")
    expect(workers).not_to_be_editable()
    page.get_by_label("Team", exact=True).select_option("peers")
    expect(workers).to_have_value("2")
    expect(workers).to_be_editable()


def test_an_error_goes_when_its_field_is_corrected(open_page: Open) -> None:
    page = open_page()
    start_button = page.get_by_role("button", name="Start", exact=True)
    start_button.click()
    expect(page.locator("#start-error")).not_to_be_empty()
    page.get_by_label("Problem", exact=True).press_sequentially("2")
    expect(page.locator("#start-error")).to_be_empty()
    expect(page.locator("[aria-invalid]")).to_have_count(0)


def test_an_unknown_session_is_told_and_the_form_is_there(open_page: Open) -> None:
    page = open_page("/#nobody-knows-this")
    expect(page.locator("#trouble")).to_contain_text("nobody-knows-this")
    expect(page.get_by_label("Problem", exact=True)).to_be_visible()


def test_everything_works_with_the_keyboard_alone(open_page: Open) -> None:
    page = open_page()
    expect(page.get_by_label("Problem", exact=True)).to_be_focused()
    page.keyboard.type(PROBLEM)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#session")).to_be_visible()
    reached = []
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
    assert {"share", "save-text", "history-scroll", "views"} <= set(reached)
    assert reached.count("share") > 1, "the focus is caught somewhere"


@pytest.mark.parametrize("width", [360, 1280])
def test_every_control_has_a_name_and_nothing_is_wider_than_the_screen(
    open_page: Open, width: int
) -> None:
    page = open_page(width=width)
    assert nameless(page) == []
    start_long(page)
    page.get_by_text("Add a worker").click()
    assert nameless(page) == []
    stop(page)
    assert nameless(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def nameless(page: Page) -> list[str]:
    """Roles of controls for which the browser finds no name."""
    cdp = page.context.new_cdp_session(page)
    nodes = cdp.send("Accessibility.getFullAXTree")["nodes"]
    controls = [n for n in nodes if not n["ignored"] and n["role"]["value"] in CONTROLS]
    assert controls
    return [n["role"]["value"] for n in controls if not n.get("name", {}).get("value", "").strip()]
