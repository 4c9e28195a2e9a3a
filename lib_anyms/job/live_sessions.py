"""The live sessions: the one whose job runs, and those of jobs within it. A new job closes those that are left."""

from __future__ import annotations

from lib_anyms.job.job_report import JobReport
from lib_anyms.job.session import Session
from lib_anyms.runtime import runtime


class LiveSessions:
    """The sessions of the running jobs, and the report of the last job that used AnyMS."""

    def __init__(self) -> None:
        self.sessions: list[Session] = []  # from the outer job's to the innermost
        self.last_report: JobReport | None = None

    def close(self) -> None:
        """Close all, and keep the report of the outer one."""
        while self.sessions:
            self.leave()

    def leave(self) -> None:
        """Close the innermost, and keep its report: in that of the outer one, if it was a second look."""
        session = self.sessions.pop()
        if not self.sessions:
            self.last_report = session.report() or self.last_report
        session.close()
        if session.within and self.sessions:
            self.sessions[0].second_looks += session.passes

    def leave_to(self, job: object) -> Session | None:
        """Close the sessions of jobs within `job`, and return its own; None, and nothing closed, if it has none."""
        if not any(session.job is job for session in self.sessions):
            return None
        while self.sessions[-1].job is not job:
            self.leave()
        return self.sessions[-1]

    def clear(self) -> None:
        """Close all, and forget the last report."""
        self.close()
        self.last_report = None


def live() -> Session | None:
    """The session of the innermost job that has one."""
    sessions = runtime.of(LiveSessions).sessions
    return sessions[-1] if sessions else None


def outer_session() -> Session | None:
    """The session of the outer job."""
    sessions = runtime.of(LiveSessions).sessions
    return sessions[0] if sessions else None


def session_of(job: object) -> Session | None:
    """The session of `job`, after closing those of jobs within it; None if it has none."""
    return runtime.of(LiveSessions).leave_to(job)


def open_session(session: Session) -> Session:
    """Close all sessions, and make `session` the live one."""
    close_session()
    return enter_session(session)


def enter_session(session: Session) -> Session:
    """Make `session` the live one until its job, within that of the others, is over."""
    runtime.of(LiveSessions).sessions.append(session)
    return session


def leave_session() -> None:
    """Close the live session; the job around its job goes on."""
    runtime.of(LiveSessions).leave()


def close_session() -> None:
    """Close all sessions."""
    runtime.of(LiveSessions).close()


def last_report() -> JobReport | None:
    """The report of the running job, else of the last one that used AnyMS."""
    session = outer_session()
    report = session.report() if session is not None else None
    return report or runtime.of(LiveSessions).last_report


def last_refusal() -> str:
    """The sentence by which AnyMS refused the last job; "" once another job has begun."""
    session = outer_session()
    return session.refusal if session is not None else ""
