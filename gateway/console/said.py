"""Sentences that a page shows after a change, by the code in its address: nobody can put words there."""

from __future__ import annotations

from gateway.console.language import mark

SAID = {
    "signed_out": mark("You are signed out."),
    "joined": mark("Your password is set. Sign in with it."),
    "factor_added": mark("The second factor is in force."),
    "factor_removed": mark("The second factor is removed."),
    "saved": mark("Saved."),
    "proposed": mark("A second person has to agree. The change waits among the approvals."),
    "signal_canceled": mark("The signal is taken back."),
    "halted": mark("It is stopped."),
    "released": mark("It may trade again."),
    "eased": mark("It may make positions smaller again, and open nothing."),
    "drift_decided": mark("Decided. The worker that holds the account carries it out."),
    "credential_live": mark("The broker has proven the key: it signs from now on."),
    "credential_revoked": mark("The credential is revoked."),
    "answered": mark("Your answer counts. What came of it is below."),
    "agreed": mark("You agreed."),
    "refused": mark("You refused. Nothing is changed."),
    "withdrawn": mark("Withdrawn. Nothing is changed."),
    "set_up_done": mark("Done. On to the next step."),
    "test_sent": mark("The test signal came through."),
    "doubt_decided": mark(
        "Your decision is on record. The worker asks the broker once more and carries it out."
    ),
    "replayed": mark("Sent: this is the new signal."),
    "export_asked": mark("The export is being made."),
}

TITLES = {
    "login_failed": mark("Organisation, e-mail or password is wrong."),
    "login_slowed": mark("Too many wrong attempts: wait before the next one."),
    "second_factor_failed": mark("This code does not fit, or it was used before."),
    "invitation_over": mark("This invitation was taken up or ran out: ask for a new one."),
    "forbidden": mark("You may not do that."),
    "not_found": mark("There is nothing here."),
    "csrf_failed": mark("This form is too old: open the page again."),
    "too_many_requests": mark("Too many requests at once."),
    "invalid": mark("Something in the form does not fit."),
    "conflict": mark("This clashes with what is there now."),
    "revision_conflict": mark("Somebody else changed this meanwhile: look again."),
    "overloaded": mark("Too busy just now."),
    "unavailable": mark("A part that this needs cannot be reached just now. Nothing was done."),
    "stale_revision": mark("Somebody else changed this meanwhile: look again."),
    "already_decided": mark("Somebody has decided this already."),
    "own_proposal": mark("You asked for this yourself: another person has to agree."),
    "person_needed": mark("Only a person may decide this."),
    "proposal_closed": mark("This is decided, or has run out."),
    "proposal_failed": mark("It was agreed, and could not be done."),
    "invalid_signal": mark("The signal cannot be used."),
    "unresolvable": mark("An order would have no value for something that it needs."),
    "rate_limited": mark("Too many requests at once."),
}
"""Problem code → what was refused."""

STATUSES = {
    403: mark("You may not do that."),
    404: mark("There is nothing here."),
    409: mark("This clashes with what is there now."),
    413: mark("That is too much at once."),
    422: mark("Something in the form does not fit."),
    429: mark("Too many requests at once."),
    500: mark("Something broke here. It is in the log under this number."),
    503: mark("A part that this needs cannot be reached just now. Nothing was done."),
}
"""The same by HTTP status, for codes that have no sentence of their own."""
