"""What is asked of workers: one name for one question, one way from waiting to an end."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.requests import (
    INQUIRY,
    PREVIEW,
    RUN,
    Findings,
    InquiryKind,
    Proposal,
    Question,
    RequestState,
    question_id,
)
from autoprovisioning.domain.settings import Settings
from tests.support.builders import NOW, SECOND, requested

ADMIN = Actor(address="admin@example.com", directory_id="u0")
QUESTION = Question(user_id="u1", kind=InquiryKind.EXPLAIN)
ASKED = requested(INQUIRY, QUESTION)


def test_the_same_question_of_the_same_person_has_one_name():
    asked = question_id(INQUIRY, "c1", QUESTION, ADMIN)
    assert asked == question_id(INQUIRY, "c1", QUESTION, replace(ADMIN, address="renamed@example.com"))
    others = {
        question_id(INQUIRY, "c2", QUESTION, ADMIN),
        question_id(INQUIRY, "c1", replace(QUESTION, user_id="u2"), ADMIN),
        question_id(INQUIRY, "c1", replace(QUESTION, kind=InquiryKind.PROVISION), ADMIN),
        question_id(INQUIRY, "c1", QUESTION, replace(ADMIN, directory_id="u9")),
        question_id(INQUIRY, "c1", QUESTION, ADMIN, after=asked),
        question_id(PREVIEW, "c1", Proposal(edition=1, settings=Settings()), ADMIN),
    }
    assert len(others - {asked}) == 6


def test_it_waits_is_taken_up_and_ends_once():
    running = ASKED.begun()
    found = Findings(steps=())
    states = [each.state for each in (ASKED, running, running.hindered("503"), running.done(NOW, found))]
    assert states == [RequestState.WAITING, RequestState.RUNNING, RequestState.RUNNING, RequestState.DONE]
    assert [each.under_way for each in (ASKED, running, running.done(NOW, found))] == [True, True, False]


def test_a_failure_keeps_what_was_found_and_success_forgets_the_attempts_before():
    tried = ASKED.begun().hindered("503")
    assert tried.done(NOW, Findings()).problem == ""
    found = replace(Findings(), account=None)
    failed = tried.failed(NOW, "no", found)
    assert (failed.state, failed.problem, failed.result, failed.finished) == (RequestState.FAILED, "no", found, NOW)


@pytest.mark.parametrize("kind", [RUN, PREVIEW, INQUIRY], ids=lambda kind: kind.name)
def test_an_answer_is_expected_for_a_while_and_there_for_longer(kind):
    asked = requested(kind, None)
    assert asked.expected(NOW + kind.patience - SECOND)
    assert not asked.expected(NOW + kind.patience)
    assert not replace(asked, state=RequestState.FAILED).expected(NOW)
    assert asked.expires - NOW == kind.kept > kind.patience + timedelta(minutes=5)
