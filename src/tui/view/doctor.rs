//! Drawing of the Doctor screen.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::super::app::{App, Areas};
use super::super::text::{clean, fit};
use super::super::theme::StyleRole;
use crate::doctor::CheckResult;

/// Draws the screen in `area`, and stores the place of the checks in `areas`.
pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect, areas: &mut Areas) {
    let doctor = &app.doctor;
    let of = app.doctor_of().and_then(|id| app.world.sessions.get(&id));
    let of = of.map_or_else(|| "every session".to_owned(), |session| clean(&session.opened.name));
    let title = format!(
        "Doctor · {of} · {} failed, {} warned, {} passed",
        doctor.results.count(CheckResult::Failed),
        doctor.results.count(CheckResult::Warned),
        doctor.results.count(CheckResult::Passed)
    );
    let block = app.pane(title, true);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    areas.list = inner;
    let lines = lines(app, usize::from(inner.width));
    let top = doctor.top.min(lines.len().saturating_sub(1));
    for (y, line) in (inner.y..inner.bottom()).zip(lines.into_iter().skip(top)) {
        frame.render_widget(line, Rect { y, height: 1, ..inner });
    }
}

fn lines(app: &App, width: usize) -> Vec<Line<'static>> {
    let glyphs = app.glyphs();
    let mut lines = Vec::new();
    for check in app.doctor.results.checks.iter().filter(|check| !check.is_moot()) {
        let (sign, role) = match check.verdict {
            CheckResult::Passed => (glyphs.ok, StyleRole::Ok),
            CheckResult::Warned => (glyphs.warning, StyleRole::Warning),
            CheckResult::Unjudged => ("?", StyleRole::Warning),
            CheckResult::Failed => (glyphs.error, StyleRole::Error),
            CheckResult::NotApplicable => ("-", StyleRole::Dim),
        };
        let is_fine = check.findings.is_empty();
        let title = check.question.title;
        let mut spans: Vec<Span<'static>> = vec![app.span(role, format!("{sign} "))];
        spans.push(app.span(if is_fine { StyleRole::Text } else { role }, title));
        if is_fine {
            let room = width.saturating_sub(title.len() + 5);
            let summary = fit(&clean(&check.summary), room, glyphs.ellipsis);
            spans.push(app.span(StyleRole::Dim, format!("  {summary}")));
        }
        lines.push(Line::from(spans));
        let text = |role, text: String| {
            Line::from(app.span(role, fit(&format!("    {}", clean(&text)), width, glyphs.ellipsis)))
        };
        for finding in &check.findings {
            lines.push(text(StyleRole::Text, finding.cause.what.to_owned()));
            let evidence = finding.evidence.iter();
            lines.extend(evidence.map(|evidence| text(StyleRole::Dim, format!("  {}", evidence.text))));
        }
        lines.extend(check.fixes().into_iter().map(|fix| text(StyleRole::Accent, format!("fix: {fix}"))));
    }
    lines
}
