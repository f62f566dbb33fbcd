"""What a sign-in is refused for. No text here says which of tenant, e-mail or password was wrong."""

from __future__ import annotations

from typing import Any

from tenancy.errors import PortcullisError, Retry


class LoginFailed(PortcullisError):
    """Tenant, e-mail or password is wrong, or the person may not come in: not said which."""

    code = "login_failed"


class LoginSlowed(PortcullisError):
    """Too many failures: this guess was not looked at. Slowed and locked look alike from outside."""

    code = "login_slowed"
    retry = Retry.SAFELY

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"too many failures: nothing was checked; try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class SecondFactorRequired(PortcullisError):
    """The first factor was right. `members` goes into the problem document."""

    code = "second_factor_required"

    def __init__(self, half_session: str, methods: list[str]) -> None:
        super().__init__("the password was right; go on with a second factor")
        self.members: dict[str, Any] = {"half_session": half_session, "methods": methods}


class SecondFactorFailed(PortcullisError):
    """The code or the authenticator's answer does not fit, or was used before."""

    code = "second_factor_failed"


class EnrolmentRequired(PortcullisError):
    """A role of this person needs a second factor, and there is none yet."""

    code = "second_factor_enrolment_required"


class SessionOver(PortcullisError):
    """No session, or one that has ended."""

    code = "session_over"


class CsrfFailed(PortcullisError):
    """A change over a cookie without the session's own token: some other page may have sent it."""

    code = "csrf_failed"


class InvitationOver(PortcullisError):
    """No such invitation, or it was taken up or ran out."""

    code = "invitation_over"


class ProviderFailed(PortcullisError):
    """The identity provider did not say who this is, or it is nobody we know: see the log."""

    code = "oidc_failed"
