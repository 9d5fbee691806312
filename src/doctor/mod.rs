//! Diagnosis of a server: ordered checks of the recorded traffic, with evidence and a fix. A running
//! session, a recording and a server that was started for it are examined alike.

mod causes;
mod check;
mod conduct;
mod contract;
mod framing;
mod handshake;
mod journey;
mod lint;
mod pages;
mod process;
mod reach;
mod report;
mod stderr;
mod target;
mod waits;

pub use causes::{CAUSES, Cause};
pub use check::{CHECKS, Check, CheckResult, Evidence, Finding, Question};
pub use journey::{Journey, JourneyStep, Link};
pub use report::{escape, junit, lines, markdown};
pub use target::Target;

/// Causes of checks that are made outside of the recorded traffic.
pub mod cause {
    pub use super::causes::{
        CONFIG, EXITED, NO_INTERPRETER, NOT_EXECUTABLE, NOT_FOUND, NOT_STARTED, ONE_WORD, OUTLIVES_STDIN,
        TRIMMED_PATH,
    };
}

/// What is known of a server.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Results of the checks, in the order in which servers fail.
    pub checks: Vec<Check>,
    /// The journey of each tool.
    pub journeys: Vec<Journey>,
}

impl Report {
    /// Returns the worst result of the checks.
    pub fn worst(&self) -> CheckResult {
        self.checks.iter().map(|check| check.verdict).max().unwrap_or(CheckResult::NotApplicable)
    }

    /// Returns the number of checks with this result. Checks that a failed one makes moot do not count.
    pub fn count(&self, verdict: CheckResult) -> usize {
        self.checks.iter().filter(|check| check.verdict == verdict && !check.is_moot()).count()
    }
}

/// Makes all checks of recorded traffic, in the order in which servers fail. What a failed check makes moot is
/// not judged.
pub fn examine(target: &Target<'_>) -> Report {
    examine_with(target, Vec::new())
}

/// Makes all checks of recorded traffic, beside those of what is not in it. Of two checks of one question the worse
/// counts.
pub fn examine_with(target: &Target<'_>, outside: Vec<Check>) -> Report {
    let tools = contract::Tools::of(target);
    let journeys = journey::journeys(target, &tools);
    let mut checks = vec![
        process::spawn(target),
        process::probe(target),
        reach::reach(target),
        reach::authorization(target),
        framing::stdout(target),
        process::first_answer(target),
        handshake::handshake(target),
        handshake::era(target),
        contract::capabilities(target),
        pages::pages(target),
        contract::names(&tools),
        contract::schemas(&tools),
        contract::cost(&tools),
        journey::tools(&journeys),
        waits::ids(target),
        waits::timeouts(target),
        conduct::list_changes(target),
        conduct::client(target),
        conduct::protocol(target),
        conduct::secrets(target),
        conduct::evidence(target),
    ];
    for check in outside {
        match checks.iter_mut().find(|known| known.question == check.question) {
            Some(known) if known.verdict < check.verdict => *known = check,
            Some(_) => {}
            None => checks.push(check),
        }
    }
    checks.sort_by_key(|check| CHECKS.iter().position(|known| known == check.question));
    if !target.is_greeted() {
        set_moot(&mut checks);
    }
    Report { checks, journeys }
}

/// Marks checks of which nothing is known as not judged, if a check before them failed.
fn set_moot(checks: &mut [Check]) {
    /// Checks after whose failure nothing is known.
    const GATES: [&str; 5] = ["binary", "spawn", "reach", "authorization", "handshake"];
    /// Checks that are about the traffic itself, whatever failed.
    const ANYWAY: [&str; 8] =
        ["shutdown", "probe", "stdout", "ids", "timeouts", "secrets", "evidence", "protocol"];
    let gate = checks
        .iter()
        .find(|check| check.verdict >= CheckResult::Unjudged && GATES.contains(&check.question.id));
    let Some(gate) = gate.map(|check| check.question) else { return };
    let after = checks.iter_mut().skip_while(|check| check.question != gate).skip(1);
    for check in after.filter(|check| !ANYWAY.contains(&check.question.id)) {
        if check.verdict == CheckResult::NotApplicable || check.question.id == "handshake" {
            *check = Check::moot(check.question.id, gate);
        }
    }
}
