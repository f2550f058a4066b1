"""E6, E8, E9, E10 in Chromium: the embed within a page of another site, under every restriction that hosts set."""

from __future__ import annotations

import gzip
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Frame, Locator, Page, Response, expect

import channels
from models import Customer, Message, db
from services import businesses, embeds
from tests.browsers import Hosts
from tests.embed.conftest import Crm
from tests.processes import Live
from tests.ui import scene

pytestmark = pytest.mark.browser
SANDBOX = "allow-scripts allow-forms"


@pytest.fixture
def crm(live: Live) -> Iterator[Crm]:
    """A business of the running product."""
    with live.app.app_context():
        yield Crm(businesses.create("Acme"), live.app.test_client())
        db.session.rollback()


@pytest.fixture
def joe(crm: Crm) -> Any:
    customer = crm.customer("Joe Bloggs")
    crm.says(customer, "Any news on the refund?")
    return customer


@pytest.fixture
def address(live: Live, crm: Crm) -> Callable[..., str]:
    """Give the address of an embed, as the guide writes it."""
    return lambda customer, **more: f"{live.base_url}/embed/inbox?token={crm.token(customer, **more)}"


def framed(tab: Page) -> Frame:
    tab.wait_for_selector("#embed")
    frame = tab.query_selector("#embed").content_frame()  # type: ignore[union-attr]
    assert frame
    return frame


def heard(tab: Page, kind: str) -> list[dict[str, Any]]:
    return [said for said in tab.evaluate("heard") if said.get("type") == kind]


def wait_for(tab: Page, kind: str, seconds: float = 6) -> dict[str, Any]:
    tab.wait_for_function(f"heard.some(said => said.type === '{kind}')", timeout=seconds * 1000)
    return heard(tab, kind)[-1]


def complaints(tab: Page) -> list[str]:
    """Collect what the browser complains of: errors of scripts, refusals of policies."""
    found: list[str] = []
    tab.on("console", lambda message: found.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: found.append(str(error)))
    return found


def said(frame: Frame, text: str) -> Locator:
    return frame.locator("#timeline .m.in", has_text=text)


def write(frame: Frame, text: str) -> None:
    frame.fill("[data-composer] textarea", text)
    frame.press("[data-composer] textarea", "Enter")


def test_the_guides_iframe_shows_the_conversation_and_answers(
    tab: Page, hosts: Hosts, crm: Crm, joe: Any, address: Callable[..., str]
) -> None:
    found = complaints(tab)
    tab.goto(hosts.embed(address(joe), style="border: none"))
    frame = framed(tab)
    expect(said(frame, "Any news on the refund?")).to_be_visible()
    expect(frame.locator("html[data-live=open]")).to_be_attached()
    write(frame, "It was approved this morning")
    expect(frame.locator(".m.out[id^=m-]", has_text="It was approved this morning")).to_have_count(1)
    crm.says(joe, "Great, thank you")
    expect(frame.locator(".m.in", has_text="Great, thank you")).to_have_count(1)
    expect(frame.locator("[data-pending]")).to_have_count(0)
    assert found == []


@pytest.mark.parametrize("sandbox", ["", SANDBOX], ids=["plain", "sandboxed"])
def test_e8_it_works_with_all_site_data_blocked(
    strict_context: BrowserContext, hosts: Hosts, crm: Crm, joe: Any, address: Callable[..., str], sandbox: str
) -> None:
    tab = strict_context.new_page()
    found = complaints(tab)
    tab.goto(hosts.embed(address(joe), **({"sandbox": sandbox} if sandbox else {})))
    frame = framed(tab)
    blocked = "() => { try { localStorage.getItem('x'); return 'allowed'; } catch (e) { return e.name; } }"
    assert frame.evaluate(blocked) == "SecurityError"
    expect(said(frame, "Any news on the refund?")).to_be_visible()
    expect(frame.locator("html[data-live=open]")).to_be_attached()
    crm.says(joe, "Are you there?")
    expect(frame.locator(".m.in", has_text="Are you there?")).to_be_visible()
    frame.set_input_files(
        "[data-picker]", {"name": "label.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.4 x"}
    )
    write(frame, "Here is your label")
    sent = frame.locator(".m.out[id^=m-]", has_text="Here is your label")
    expect(sent).to_have_count(1)
    expect(sent.get_by_text("label.pdf")).to_be_visible()
    assert found == []
    assert strict_context.cookies() == []


def test_e8_a_sandboxed_view_draws_its_icons_and_its_colours(
    tab: Page, hosts: Hosts, joe: Any, address: Callable[..., str]
) -> None:
    tab.goto(hosts.embed(address(joe) + "&theme=dark&accent=0a7f5a", sandbox=SANDBOX))
    frame = framed(tab)
    icon = frame.locator("#embed-header svg").last
    expect(icon).to_be_visible()
    assert frame.evaluate("() => document.querySelector('#embed-header svg:last-of-type use').getBBox().width") > 5
    assert frame.evaluate("() => self.origin") == "null"
    surface = frame.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert surface == "rgb(24, 26, 30)"


def test_e6_the_token_leaves_the_address_and_no_request_carries_it_again(
    tab: Page, hosts: Hosts, crm: Crm, joe: Any, address: Callable[..., str], live: Live
) -> None:
    requests: list[Any] = []
    tab.on("request", lambda request: requests.append(request))  # noqa: PLW0108 (it is given an attribute)
    link = address(joe)
    token = link.partition("token=")[2]
    tab.goto(hosts.embed(link))
    frame = framed(tab)
    expect(frame.locator("html[data-live=open]")).to_be_attached()
    write(frame, "hello")
    expect(frame.locator(".m.out[id^=m-]")).to_have_count(1)
    assert frame.evaluate("() => location.href") == f"{live.base_url}/embed/inbox"
    assert token not in frame.evaluate("() => document.documentElement.outerHTML")
    ours = [request for request in requests if request.url.startswith(live.base_url)]
    carrying = [request.url for request in ours if token in request.url + str(request.all_headers())]
    assert carrying == [link]
    secret = next(request.headers["x-embed-session"] for request in ours if "x-embed-session" in request.headers)
    assert not [request.url for request in ours if secret in request.url]
    later = [request for request in ours if request.url != link]
    assert not [request.url for request in later if "referer" in request.all_headers()]
    assert secret not in frame.evaluate("() => document.documentElement.outerHTML")
    assert token not in live.log("web")
    assert secret not in live.log("web")


def test_e9_only_a_listed_page_may_frame_it(
    tab: Page, hosts: Hosts, crm: Crm, joe: Any, address: Callable[..., str]
) -> None:
    crm.business.embed_origins = ["https://crm.example.com"]
    db.session.commit()
    tab.goto(hosts.embed(address(joe)))
    tab.wait_for_timeout(500)
    assert "refund" not in framed(tab).content()
    crm.business.embed_origins = [hosts.origin]
    db.session.commit()
    tab.goto(hosts.embed(address(joe)))
    expect(said(framed(tab), "Any news on the refund?")).to_be_visible()


def test_the_host_hears_what_happens_at_its_exact_origin(
    tab: Page, hosts: Hosts, crm: Crm, joe: Any, address: Callable[..., str], live: Live
) -> None:
    tab.goto(hosts.embed(address(joe)))
    ready = wait_for(tab, "ready")
    assert (ready["origin"], ready["source"], ready["v"]) == (live.base_url, "alacarte", 1)
    assert wait_for(tab, "resize")["height"] > 200
    frame = framed(tab)
    expect(frame.locator("html[data-live=open]")).to_be_attached()
    message = crm.says(joe, "hello?")
    received = wait_for(tab, "message:received")
    assert (received["id"], received["channel"]) == (str(message.id), "whatsapp")
    tab.wait_for_function("heard.findLast(said => said.type === 'unread').count === 2")
    write(frame, "hello!")
    sent = wait_for(tab, "message:sent")
    stored = db.session.query(Message).filter_by(business_id=crm.business.id, direction="outbound").one()
    assert sent["id"] == str(stored.id)
    tab.wait_for_function("heard.findLast(said => said.type === 'unread').count === 0")
    assert "hello" not in str([said for said in tab.evaluate("heard") if said.get("type")])  # ids, never content


def test_the_host_may_set_the_look_and_begin_an_answer_and_never_sends(
    tab: Page, hosts: Hosts, crm: Crm, joe: Any, address: Callable[..., str]
) -> None:
    tab.goto(hosts.embed(address(joe)))
    wait_for(tab, "ready")
    frame = framed(tab)
    tab.evaluate("tell({type: 'theme', mode: 'dark', accent: '#ffcc00'})")
    tab.evaluate("tell({type: 'locale', locale: 'ar-EG'})")
    tab.evaluate("tell({type: 'compose', text: 'Dear Joe,\\n'})")
    expect(frame.locator("html[data-theme=dark][dir=rtl]")).to_be_attached()
    area = frame.locator("[data-composer] textarea")
    expect(area).to_have_value("Dear Joe,\n")
    expect(area).to_be_focused()
    expect(frame.locator("html")).to_have_attribute("style", re.compile(r"--accent-d: #ffcc00"))
    assert db.session.query(Message).filter_by(business_id=crm.business.id, direction="outbound").count() == 0


def test_e10_a_message_from_any_other_window_is_ignored(
    tab: Page, hosts: Hosts, crm: Crm, joe: Any, address: Callable[..., str], live: Live
) -> None:
    orders = (
        "[{type: 'compose', text: 'pwned'}, {type: 'theme', mode: 'dark'}, {type: 'token:refresh', token: 'x.y.z'}]"
    )
    other = hosts.page("/evil", f"<script>for (const m of {orders}) parent.frames[0].postMessage(m, '*')</script>")
    page = hosts.embed(address(joe))
    hosts.pages["/crm"] += f"""<iframe id="evil" srcdoc=""></iframe><script>
        evil = () => document.getElementById('evil').src = '{other}';</script>"""
    tab.goto(page)
    wait_for(tab, "ready")
    frame = framed(tab)
    tab.evaluate("document.getElementById('evil').removeAttribute('srcdoc'); evil()")
    frame.evaluate(f"() => {{ for (const m of {orders}) postMessage(m, '*') }}")  # from itself
    tab.wait_for_timeout(500)
    expect(frame.locator("[data-composer] textarea")).to_have_value("")
    expect(frame.locator("html[data-theme=auto]")).to_be_attached()
    assert heard(tab, "error") == []


NONSENSE = """[
    'compose', null, 7, [1, 2], {type: 'constructor'}, {type: '__proto__'}, {type: ['compose'], text: 'x'},
    {type: 'compose'}, {type: 'compose', text: {toString: 1}}, {type: 'token:refresh', token: {}},
    {type: 'theme', mode: '"><script>', accent: 'red;}'}, {type: 'locale', locale: 7}, {type: 'focus:composer '},
]"""


def test_e10_nonsense_from_the_host_changes_nothing(
    tab: Page, hosts: Hosts, joe: Any, address: Callable[..., str]
) -> None:
    found = complaints(tab)
    tab.goto(hosts.embed(address(joe)))
    wait_for(tab, "ready")
    tab.evaluate(f"{NONSENSE}.forEach(tell)")
    tab.evaluate("tell({type: 'focus:composer'})")
    frame = framed(tab)
    expect(frame.locator("[data-composer] textarea")).to_be_focused()
    expect(frame.locator("html[data-theme=auto][dir=ltr]")).to_be_attached()
    expect(frame.locator("[data-composer] textarea")).to_have_value("")
    assert found == []


def test_a_view_that_ends_is_renewed_without_a_reload_and_keeps_the_draft(
    tab: Page, hosts: Hosts, crm: Crm, joe: Any, address: Callable[..., str]
) -> None:
    link = address(joe)
    tab.goto(hosts.embed(link))
    wait_for(tab, "ready")
    frame = framed(tab)
    expect(frame.locator("html[data-live=open]")).to_be_attached()
    frame.fill("[data-composer] textarea", "Half an ans")
    frame.evaluate("() => { self.same = true }")
    embeds.revoke_token(crm.business, embeds.read(link.partition("token=")[2]).id)
    db.session.commit()
    began = time.monotonic()
    wait_for(tab, "token:expired")
    assert time.monotonic() - began < 3
    expect(frame.locator("#terms-over")).to_be_visible()
    expect(frame.locator("[data-composer]")).to_be_hidden()
    expect(said(frame, "Any news on the refund?")).to_be_visible()  # what was there stays readable
    crm.says(joe, "written meanwhile")
    tab.wait_for_timeout(300)
    assert frame.locator("text=written meanwhile").count() == 0
    tab.evaluate("token => tell({source: 'alacarte', v: 1, type: 'token:refresh', token})", crm.token(joe))
    expect(frame.locator("#terms-over")).to_be_hidden()
    expect(frame.locator("[data-composer] textarea")).to_have_value("Half an ans")
    expect(frame.locator(".m.in", has_text="written meanwhile")).to_be_visible()
    assert frame.evaluate("() => self.same") is True
    write(frame, "Half an answer")
    expect(frame.locator(".m.out[id^=m-]", has_text="Half an answer")).to_have_count(1)


def test_a_token_of_another_customer_does_not_renew_it(
    tab: Page, hosts: Hosts, crm: Crm, joe: Any, address: Callable[..., str]
) -> None:
    tab.goto(hosts.embed(address(joe)))
    wait_for(tab, "ready")
    tab.evaluate("token => tell({type: 'token:refresh', token})", crm.token(crm.customer("Ann")))
    assert wait_for(tab, "error")["code"] == "embed_other_customer"
    expect(said(framed(tab), "Any news on the refund?")).to_be_visible()


def test_a_short_token_warns_its_host_and_the_reader(
    tab: Page, hosts: Hosts, crm: Crm, joe: Any, address: Callable[..., str]
) -> None:
    tab.goto(hosts.embed(address(joe, expires_in=60)))
    assert wait_for(tab, "token:expiring")["at"]
    expect(framed(tab).locator("#terms-soon")).to_be_visible()
    expect(framed(tab).locator("#terms-soon [data-left]")).to_have_text(re.compile(r"^5\d s$"))


def test_a_view_for_reading_has_no_composer_and_stays_live(
    tab: Page, hosts: Hosts, crm: Crm, joe: Any, address: Callable[..., str]
) -> None:
    tab.goto(hosts.embed(address(joe, scope="inbox:read")))
    frame = framed(tab)
    expect(frame.locator("html[data-live=open]")).to_be_attached()
    expect(frame.get_by_text("View only")).to_be_visible()
    assert frame.locator("[data-composer]").count() == 0
    crm.says(joe, "one more thing")
    expect(frame.locator(".m.in", has_text="one more thing")).to_be_visible()


def test_earlier_messages_come_in_above_and_nothing_jumps(
    tab: Page, hosts: Hosts, crm: Crm, address: Callable[..., str]
) -> None:
    ann = crm.customer("Ann")
    for number in range(70):
        crm.says(ann, f"line {number:02}")
    tab.goto(hosts.embed(address(ann)))
    frame = framed(tab)
    expect(frame.locator("#timeline > .m")).to_have_count(50)
    frame.evaluate("() => { document.querySelector('#timeline').scrollTop = 0 }")
    expect(frame.locator("#timeline > .m")).to_have_count(70)
    expect(frame.get_by_text("line 20", exact=True)).to_be_in_viewport()
    texts = frame.locator("#timeline > .m .txt").all_inner_texts()
    assert texts == [f"line {number:02}" for number in range(70)]


@pytest.mark.parametrize("width", [320, 420, 900, 1200])
def test_it_fits_any_frame_without_scrolling_the_page(
    tab: Page, hosts: Hosts, crm: Crm, joe: Any, address: Callable[..., str], width: int
) -> None:
    crm.says(joe, "https://example.com/" + "x" * 300)
    tab.goto(hosts.embed(address(joe), size=(width, 600)))
    frame = framed(tab)
    expect(frame.locator("html[data-live=open]")).to_be_attached()
    sizes = frame.evaluate("() => { const d = document.documentElement; return [d.scrollWidth, d.scrollHeight] }")
    assert sizes == [width, 600]
    column = frame.locator("#customer")
    if width >= 760:
        expect(column).to_be_visible()
    else:
        expect(column).to_be_hidden()
        frame.click("[data-act=side]")
        expect(column).to_be_visible()
        frame.press("#customer", "Escape")
        expect(column).to_be_hidden()
    if width == 420:
        assert frame.locator("#timeline").bounding_box()["height"] >= 370  # type: ignore[index]


def test_the_page_is_light_enough(tab: Page, joe: Any, address: Callable[..., str]) -> None:
    """Counted as a proxy sends it: compressed."""
    answers: list[Response] = []
    tab.on("response", lambda answer: answers.append(answer))  # noqa: PLW0108 (it is given an attribute)
    tab.goto(address(joe), wait_until="load")
    tab.wait_for_timeout(500)
    sizes = {
        answer.url.partition("?")[0]: len(gzip.compress(answer.body()))
        for answer in answers
        if "live?" not in answer.url
    }
    assert len(sizes) == 8
    assert sum(sizes.values()) < 50 * 1024, sizes


def test_no_two_things_of_the_page_have_one_id(tab: Page, hosts: Hosts, joe: Any, address: Callable[..., str]) -> None:
    """The icons stand within the page and have ids too."""
    tab.goto(address(joe))
    ids = tab.evaluate("[...document.querySelectorAll('[id]')].map(node => node.id)")
    assert sorted(ids) == sorted(set(ids))


@pytest.fixture
def bloggs(live: Live) -> tuple[Crm, Any]:
    """A customer with every kind of line, on every channel that there is."""
    with live.app.app_context():
        place = scene.build(channels.KINDS)
        customer = db.session.get_one(Customer, (place.business.id, place.joe.customer_id))
        return Crm(place.business, live.app.test_client(), place.accounts["whatsapp"]), customer


RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def violations(tab: Page) -> list[str]:
    found = Axe().run(tab, options=RULES).response["violations"]
    return [f"{one['id']}: {node['html'][:160]} {node['failureSummary']}" for one in found for node in one["nodes"]]


def test_axe_finds_nothing_in_any_state(tab: Page, live: Live, bloggs: tuple[Crm, Any]) -> None:
    crm, customer = bloggs
    found: dict[str, list[str]] = {}
    with live.app.app_context():
        tokens = {scope: crm.token(customer, scope) for scope in ("inbox", "inbox:read")}
    for width, scope, look in (
        (420, "inbox", "light"),
        (900, "inbox", "dark"),
        (320, "inbox:read", "dark"),
        (900, "inbox:read", "light"),
    ):
        tab.set_viewport_size({"width": width, "height": 600})
        tab.goto(f"{live.base_url}/embed/inbox?token={tokens[scope]}&theme={look}")
        expect(tab.locator("html[data-live=open]")).to_be_attached()
        found[f"{scope} {look} at {width}"] = violations(tab)
        if width < 760:
            tab.click("[data-act=side]")
            found[f"sheet {look} at {width}"] = violations(tab)
        tab.evaluate("alc.ended()")
        found[f"over {look} at {width}"] = violations(tab)
    tab.goto(f"{live.base_url}/embed/inbox?token=x")
    found["not available"] = violations(tab)
    assert {where: what for where, what in found.items() if what} == {}


def test_a_channel_can_be_looked_at_alone(tab: Page, live: Live, bloggs: tuple[Crm, Any]) -> None:
    crm, customer = bloggs
    with live.app.app_context():
        token = crm.token(customer)
    tab.goto(f"{live.base_url}/embed/inbox?token={token}")
    expect(tab.locator("html[data-live=open]")).to_be_attached()
    everything = tab.locator("#timeline > .m").count()
    chips = tab.locator("#embed-channels [data-only]:not([data-only=''])")
    counts = [int(text) for text in chips.locator(".num").all_inner_texts()]
    assert sum(counts) == everything
    assert len(counts) > 1
    chips.last.click()
    expect(tab.locator("#timeline > .m")).to_have_count(counts[-1])
    expect(chips.last).to_have_attribute("aria-pressed", "true")
    tab.click("#only-")
    expect(tab.locator("#timeline > .m")).to_have_count(everything)


def test_a_conversation_folds(tab: Page, live: Live, bloggs: tuple[Crm, Any]) -> None:
    crm, customer = bloggs
    with live.app.app_context():
        token = crm.token(customer)
    tab.goto(f"{live.base_url}/embed/inbox?token={token}")
    fold = tab.get_by_role("button", name=re.compile("Conversation #1 "))
    line = tab.locator("#timeline .m", has_text="invoice for October")
    fold.click()
    expect(line).to_be_hidden()
    fold.click()
    expect(line).to_be_visible()
