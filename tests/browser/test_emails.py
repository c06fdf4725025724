"""An email is found, explained and acted on, one or many, with who and why on record; hostile words stay words."""

from __future__ import annotations

import re
import uuid

import pytest
from playwright.async_api import Locator, expect

from mailculator.model import Status
from tests.support.browser import PATIENT, SOON, Visit
from tests.support.outage_bench import Scene
from tests.support.producer import write_payload

pytestmark = pytest.mark.browser

HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>'


async def refused(scene: Scene, count: int, reply: str = "550 5.1.1 no such user") -> list[str]:
    """That many emails that the relay has refused for good, and whose producer knows."""
    scene.relay.answer("rcpt", reply)
    ids = await scene.put(count)
    await scene.finished()
    scene.relay.behave()
    return ids


def cell(table: Locator, words: str, column: str) -> Locator:
    """Of the row that has these words."""
    return table.get_by_role("row").filter(has_text=words).locator(f"[data-label='{column}']")


async def test_an_email_is_found_explained_and_requeued_and_its_history_tells_by_whom(
    visit: Visit, scene: Scene
) -> None:
    (email_id,) = await refused(scene, 1)
    page = visit.page

    await page.get_by_label("Find an email by its id").fill(email_id)
    await page.get_by_role("button", name="Find").click()

    await expect(page.get_by_role("heading", name=email_id)).to_be_visible()
    await expect(page).to_have_url(re.compile(f"#/mysql/emails/{email_id}$"))
    why = page.get_by_role("region", name="FAILED-ACKNOWLEDGED: why")
    await expect(why).to_contain_text("550 5.1.1 no such user")
    await expect(why).to_contain_text("A requeue would send it anew.")

    await page.get_by_role("button", name="Requeue…").click()
    await expect(page.get_by_role("dialog")).to_contain_text("This sends mail.")
    await expect(page.get_by_role("dialog")).to_contain_text("what has left cannot be called back")
    await visit.confirm("Requeue", "the address was mended")

    await expect(page.locator("#told")).to_contain_text("Requeue: done for 1 email.")
    steps = page.get_by_role("table", name="Steps of this email")
    requeued = steps.get_by_role("row").filter(has_text="the address was mended")
    await expect(requeued).to_contain_text("READY")
    await expect(requeued).to_contain_text("anna")
    # It belongs to no attempt; what was refused was the first.
    await expect(cell(steps, "the address was mended", "Attempt")).to_have_text("–")
    await expect(cell(steps, "550 5.1.1 no such user", "Attempt")).to_have_text("1")
    await scene.finished()
    # The page follows an email until it is done.
    await expect(page.get_by_role("region", name="SENT-ACKNOWLEDGED: why")).to_be_visible(timeout=PATIENT)
    assert len(scene.relay.accepted) == 1


async def test_nothing_is_done_without_a_reason_or_after_escape(visit: Visit, scene: Scene) -> None:
    (email_id,) = await refused(scene, 1)
    page = visit.page
    await visit.go(f"#/mysql/emails/{email_id}")
    button = page.get_by_role("button", name="Requeue…")
    dialog = page.get_by_role("dialog")

    await button.click()
    await dialog.get_by_role("button", name="Requeue", exact=True).click()
    await expect(dialog.get_by_label("Why")).to_be_focused()
    await page.keyboard.press("Escape")

    await expect(dialog).to_have_count(0)
    await expect(button).to_be_focused()
    await expect(page.get_by_role("region", name="FAILED-ACKNOWLEDGED: why")).to_be_visible()
    assert scene.relay.accepted == []


async def test_an_email_that_is_not_there_is_said_to_be_in_no_store(visit: Visit) -> None:
    await visit.page.get_by_label("Find an email by its id").fill("no such id")
    await visit.page.keyboard.press("Enter")

    await expect(visit.page.get_by_text("MariaDB has no email with this id.")).to_be_visible()


async def test_selected_emails_and_then_all_of_a_list_are_steered(visit: Visit, scene: Scene) -> None:
    ids = sorted(await refused(scene, 5))
    page = visit.page
    await visit.go("#/mysql/emails?status=FAILED-ACKNOWLEDGED")
    rows = page.get_by_role("row").filter(has=page.locator("[data-row]"))
    await expect(rows).to_have_count(5)
    requeue = page.get_by_role("button", name="Requeue…")
    await expect(requeue).to_be_disabled()

    for email_id in ids[:2]:
        await page.get_by_label(f"Select {email_id}").check()
    await expect(page.get_by_label("selected (2)")).to_be_checked()
    await requeue.click()
    await expect(page.get_by_role("dialog")).to_contain_text("It concerns 2 emails.")
    await visit.confirm("Requeue", "two of them")
    await expect(rows).to_have_count(3)
    await expect(page.locator("#told")).to_contain_text("Requeue: done for 2 emails.")

    await page.get_by_label("all of this list").check()
    await requeue.click()
    await expect(page.get_by_role("dialog")).to_contain_text("It concerns 3 emails.")
    await visit.confirm("Requeue", "and the rest")
    await expect(page.get_by_text("No email is like that.")).to_be_visible()
    await scene.finished()
    await visit.go("#/mysql/emails?status=SENT-ACKNOWLEDGED")
    await page.get_by_label("all of this list").check()
    await requeue.click()
    await expect(page.get_by_role("dialog")).to_contain_text("This sends no mail.")
    await visit.confirm("Requeue", "their producer lost it")
    await scene.finished()
    await page.get_by_role("button", name="Look again").click()
    await expect(page.get_by_label("selected (0)")).to_be_checked()
    assert len(scene.relay.accepted) == 5
    await visit.go("#/mysql/audit")
    line = page.get_by_role("row").filter(has_text="and the rest")
    await expect(line).to_contain_text("requeued 3 emails in FAILED-ACKNOWLEDGED")


async def test_more_emails_than_one_call_takes_are_all_steered(visit: Visit, scene: Scene) -> None:
    page = visit.page
    await page.get_by_role("button", name="Pause all pipelines of MariaDB").click()
    await visit.confirm("Pause", "what follows would fail at once")
    await scene.query("INSERT INTO emails (id, status) SELECT UUID(), 'INVALID' FROM seq_1_to_2100")

    await visit.go("#/mysql/emails?status=INVALID")
    await page.get_by_label("all of this list").check()
    await page.get_by_role("button", name="Requeue…").click()
    await expect(page.get_by_role("dialog")).to_contain_text("It concerns at least 1,000 emails.", timeout=PATIENT)
    await visit.confirm("Requeue", "their payloads are there now")

    await expect(page.locator("#told")).to_contain_text("Requeue: done for 2,100 emails.")
    assert (await scene.counts())[Status.ACCEPTED] == 2100


async def test_a_list_is_paged_by_key_forth_and_back(visit: Visit, scene: Scene) -> None:
    ids = sorted(await scene.put(120))
    await scene.finished()
    page = visit.page
    await visit.go("#/mysql/emails?status=SENT-ACKNOWLEDGED")
    first = page.locator("tbody a.id").first

    await expect(first).to_have_text(ids[0])
    await page.get_by_role("link", name="Next").click()
    await expect(first).to_have_text(ids[50])
    await page.get_by_role("link", name="Next").click()
    await expect(first).to_have_text(ids[100])
    await expect(page.get_by_role("link", name="Next")).to_have_count(0)
    await page.get_by_role("link", name="Back", exact=True).click()
    await expect(first).to_have_text(ids[50])
    await page.go_back()
    await expect(first).to_have_text(ids[100])
    await page.get_by_role("link", name="First page").click()
    await expect(first).to_have_text(ids[0])
    await page.reload()
    await expect(first).to_have_text(ids[0])


async def test_emails_are_found_by_their_recipients_domain(visit: Visit, scene: Scene) -> None:
    here, there = str(uuid.uuid4()), str(uuid.uuid4())
    for email_id, domain in ((here, "one.example"), (there, "two.example")):
        path = write_payload(scene.folder / f"{email_id}.json", to=f"someone@{domain}")
        scene.producer.put(email_id, path)
        scene.expected.add(email_id)
    await scene.finished()
    page = visit.page

    await page.get_by_role("link", name="Emails").click()
    lists = page.get_by_role("search", name="Lists")
    await lists.get_by_label("Status").select_option("SENT-ACKNOWLEDGED")
    await lists.get_by_label("Recipient's domain").fill("two.example")
    await lists.get_by_role("button", name="Show").click()

    await expect(
        page.get_by_role("heading", name="MariaDB: emails in SENT-ACKNOWLEDGED, to two.example")
    ).to_be_visible()
    await expect(page.locator("tbody a.id")).to_have_text([there])


async def test_parked_mail_is_told_of_and_released(visit: Visit, scene: Scene) -> None:
    page = visit.page
    scene.callback.status = 503
    (email_id,) = await scene.put(1)
    await expect(visit.status("SENT")).to_have_text("1", timeout=PATIENT)
    await visit.go(f"#/mysql/emails/{email_id}")
    await page.get_by_role("button", name="Park…").click()
    await visit.confirm("Park", "their system is being mended")
    await expect(page.get_by_role("region", name="why")).to_contain_text("It is parked")

    await page.get_by_role("link", name="Overview").click()
    told = visit.problem("1 email parked in SENT")
    await expect(told).to_be_visible(timeout=SOON)
    await told.get_by_role("link").click()
    await expect(page.get_by_role("heading", name="MariaDB: emails parked, in SENT")).to_be_visible()
    await page.get_by_label(f"Select {email_id}").check()
    scene.callback.status = 200
    await page.get_by_role("button", name="Release…").click()
    await visit.confirm("Release", "it is mended")

    await scene.finished()
    await visit.go("#/")
    await expect(told).to_have_count(0, timeout=SOON)


async def test_hostile_words_are_shown_as_words(visit: Visit, scene: Scene) -> None:
    page = visit.page
    (email_id,) = await refused(scene, 1, f"550 5.7.1 {HOSTILE}")
    other = '<b id="x">&quot;\'/..?#%2e'
    path = write_payload(scene.folder / "hostile.json", subject=HOSTILE)
    scene.producer.put(other, path)
    scene.expected.add(other)
    await scene.finished()

    await visit.go("#/mysql/emails?status=FAILED-ACKNOWLEDGED")
    await expect(page.get_by_role("row").filter(has_text=email_id)).to_contain_text(HOSTILE)
    await page.get_by_role("link", name=email_id).click()
    await expect(page.get_by_role("region", name="why")).to_contain_text(HOSTILE)
    await visit.go("#/mysql/emails?status=INVALID")
    await page.get_by_role("link", name=other).click()
    await expect(page.get_by_role("heading", name=other)).to_be_visible()
    await expect(page.get_by_role("table", name="Steps of this email")).to_contain_text("claimed by first")

    await visit.go("#/")
    await page.get_by_role("button", name="Pause intake of MariaDB").click()
    await visit.confirm("Pause", HOSTILE)
    await expect(visit.problem("Intake paused by anna")).to_contain_text(HOSTILE, timeout=SOON)
    await visit.go("#/mysql/audit")
    await expect(page.get_by_role("row").filter(has_text="paused intake")).to_contain_text(HOSTILE)
    await visit.go(f"#/find?id={HOSTILE}")
    await expect(page.locator("main img, main script, main b#x")).to_have_count(0)
    await expect(page).not_to_have_title(re.compile("^[12]$"))
