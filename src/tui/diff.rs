//! Diff screen: this recording beside another one, or two of its sessions.

use std::path::PathBuf;

use crate::log::SessionId;
use crate::log::record::Seq;
use crate::tape::compare::{Report, ReportedDifference, Side, compare};
use crate::tape::similarity::{Ignored, brief};
use crate::tape::{files, library};

/// Comparison of two recordings, to be made in the background.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiffJob {
    /// Earlier side: a tape, and one session of it or all.
    pub a: (PathBuf, Option<u32>),
    /// Later side: a tape, and one session of it or all.
    pub b: (PathBuf, Option<u32>),
    /// JSONPaths that are not compared.
    pub ignored: Vec<String>,
}

/// State of the Diff screen.
#[derive(Debug, Default)]
pub struct Diff {
    /// Comparison that was asked for last.
    pub asked: Option<DiffJob>,
    /// Comparison asked for before that. Its report is shown again if the new one fails.
    pub before: Option<DiffJob>,
    /// Result of the comparison.
    pub report: Option<Report>,
    /// `true` while a comparison is being made.
    pub working: bool,
    /// Lines of the report.
    pub lines: Vec<DiffLine>,
    /// Index of the line under the cursor.
    pub cursor: usize,
}

/// Line of the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiffLine {
    /// Kind of the line.
    pub kind: DiffLineKind,
    /// Text of the line, not yet made safe for the screen.
    pub text: String,
    /// Frame of this recording that the line is about.
    pub frame: Option<Seq>,
    /// JSONPath that the line is about.
    pub path: Option<String>,
}

/// Kind of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiffLineKind {
    /// Heading of a section.
    Heading,
    /// Harmless change, such as an addition.
    Good,
    /// Change that may break clients.
    Bad,
    /// Part of the finding above.
    Detail,
    /// Fact that is no finding.
    Dim,
}

impl DiffJob {
    /// Parses the user's text: the name of another tape, `name#2` for a session of it, or `#1 #2`
    /// for two sessions of this recording, whose path is `own`.
    ///
    /// # Errors
    /// Returns the reason if this session is not recorded, there is no such tape, or a session
    /// number is invalid.
    pub fn parse(text: &str, own: Option<PathBuf>) -> Result<Self, String> {
        let own = own.ok_or("this session is not recorded, so there is nothing to compare")?;
        let session = |word: &str| {
            word.trim_start_matches('#').parse::<u32>().map_err(|_| format!("{word} is not a session number"))
        };
        // Standard input, which `-` would name, is the keyboard here.
        let find = |name: &str| match name {
            "" | "-" => Err("name a tape, or #1 #2 for two sessions of this one".to_owned()),
            name => library::find(name).map_err(|error| error.to_string()),
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let (a, b) = match words[..] {
            [a, b] if a.starts_with('#') && b.starts_with('#') => {
                ((own.clone(), Some(session(a)?)), (own, Some(session(b)?)))
            }
            _ => match (find(text.trim()), text.trim().rsplit_once('#')) {
                (Err(_), Some((name, number))) => ((find(name)?, Some(session(number)?)), (own, None)),
                (found, _) => ((found?, None), (own, None)),
            },
        };
        Ok(Self { a, b, ignored: Vec::new() })
    }

    /// Makes the comparison, which takes a while for long recordings.
    ///
    /// # Errors
    /// Returns the reason if a tape cannot be opened, a session does not exist, or an ignored path
    /// is invalid.
    pub fn run(&self) -> Result<Report, String> {
        let open =
            |path: &PathBuf| crate::tape::open(path, &mut |_, _| ()).map_err(|error| error.to_string());
        let ignored = Ignored::parse(&self.ignored).map_err(|error| error.to_string())?;
        let (a, b) = (open(&self.a.0)?, open(&self.b.0)?);
        let side =
            |tape: &'_ crate::tape::OpenedTape, only: Option<u32>| -> Result<Option<SessionId>, String> {
                let only = only.map(SessionId);
                match only.filter(|only| !tape.world.sessions.contains_key(only)) {
                    Some(missing) => Err(format!("{} has no session {}", files::stem(&tape.path), missing.0)),
                    None => Ok(only),
                }
            };
        let (only_a, only_b) = (side(&a, self.a.1)?, side(&b, self.b.1)?);
        Ok(compare(
            &Side { world: &a.world, log: &a.log, only: only_a },
            &Side { world: &b.world, log: &b.log, only: only_b },
            &ignored,
        ))
    }

    /// Returns a short title of the comparison.
    pub fn title(&self) -> String {
        let name = |(path, only): &(PathBuf, Option<u32>)| match only {
            Some(only) => format!("{}#{only}", files::stem(path)),
            None => files::stem(path),
        };
        format!("{} → {}", name(&self.a), name(&self.b))
    }
}

impl Diff {
    /// Shows the result of a comparison.
    pub fn set_report(&mut self, report: Report) {
        self.lines = lines(&report);
        self.cursor = self.cursor.min(self.lines.len().saturating_sub(1));
        self.report = Some(report);
        self.working = false;
    }

    /// Returns the line under the cursor.
    pub fn line(&self) -> Option<&DiffLine> {
        self.lines.get(self.cursor)
    }

    /// Moves the cursor by `by` lines within the report.
    pub fn step(&mut self, by: isize) {
        self.cursor = self.cursor.saturating_add_signed(by).min(self.lines.len().saturating_sub(1));
    }
}

fn lines(report: &Report) -> Vec<DiffLine> {
    let mut all = Vec::new();
    let mut line = |kind, text: String, frame, path| all.push(DiffLine { kind, text, frame, path });
    if let (Some(a), Some(b)) = report.eras
        && a != b
    {
        line(
            DiffLineKind::Bad,
            format!("eras differ: {a} before, {b} now; only common parts are compared"),
            None,
            None,
        );
    }
    line(DiffLineKind::Heading, format!("Contract · {} changes", report.contract.len()), None, None);
    let details = |line: &mut dyn FnMut(DiffLineKind, String, Option<Seq>, Option<String>),
                   all: &[ReportedDifference],
                   frame: Option<Seq>| {
        for ReportedDifference { path, was, is } in all {
            let text = format!("{path}: {} → {}", brief(was.as_ref()), brief(is.as_ref()));
            line(DiffLineKind::Detail, text, frame, Some(path.clone()));
        }
    };
    for change in &report.contract {
        let text = format!("{} {} {}", change.offer.word(), change.name, change.change.word());
        let kind = match change.change {
            crate::tape::compare::ChangeKind::Added => DiffLineKind::Good,
            _ => DiffLineKind::Bad,
        };
        line(kind, text, None, None);
        details(&mut line, &change.differences, None);
    }
    let same =
        report.compared.saturating_sub(report.behaviour.iter().filter(|change| change.b.is_some()).count());
    line(
        DiffLineKind::Heading,
        format!("Behaviour · {} changes, {same} unchanged calls", report.behaviour.len()),
        None,
        None,
    );
    for change in &report.behaviour {
        line(DiffLineKind::Bad, format!("{} {}", change.title, change.kind.word()), change.b, None);
        details(&mut line, &change.differences, change.b);
    }
    if !report.volatile.is_empty() {
        line(DiffLineKind::Heading, "Volatile values, not counted".to_owned(), None, None);
        for (title, path, why) in &report.volatile {
            line(DiffLineKind::Dim, format!("{title} {path} ({why})"), None, Some(path.clone()));
        }
    }
    if !report.timing.is_empty() {
        line(DiffLineKind::Heading, "Timing · p50 and p95".to_owned(), None, None);
    }
    for timing in &report.timing {
        let millis = |nanos: u64| format!("{:.1}ms", nanos as f64 / 1e6);
        let (a, b) = (timing.a, timing.b);
        let text = format!(
            "{}: {} {} → {} {}",
            timing.title,
            millis(a.p50),
            millis(a.p95),
            millis(b.p50),
            millis(b.p95)
        );
        // Small differences are noise.
        let slower = b.p50 > a.p50.saturating_mul(2) && b.p50 - a.p50 > 5_000_000;
        line(if slower { DiffLineKind::Bad } else { DiffLineKind::Dim }, text, None, None);
    }
    let cost = report.cost;
    line(DiffLineKind::Heading, "Cost · estimated tokens".to_owned(), None, None);
    line(
        DiffLineKind::Dim,
        format!("tool definitions {} → {}", cost.definitions.0, cost.definitions.1),
        None,
        None,
    );
    line(DiffLineKind::Dim, format!("answers {} → {}", cost.answers.0, cost.answers.1), None, None);
    all
}
