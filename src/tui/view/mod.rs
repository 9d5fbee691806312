//! Drawing: from the state of the screen to cells. Drawing changes no state, and builds only
//! visible parts.

mod compose;
mod detail;
mod diff;
mod doctor;
mod frames;
mod help;
mod hold;
mod logs;
mod overlay;
mod sessions;
mod tape;

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Clear, Paragraph};
use unicode_width::UnicodeWidthStr;

use super::app::{App, Areas};
use super::command::{Cmd, Pane, offered};
use super::overlay::Overlay;
use super::text::{clean, count, duration, fit};
use super::theme::StyleRole;
use crate::log::record::Level;

/// Width and height of the smallest screen that is drawn, in cells.
pub const SMALLEST: (u16, u16) = (60, 15);
/// Width in columns from which list and detail pane are side by side.
const WIDE: u16 = 120;

/// Signs on the screen.
pub struct Glyphs {
    /// End of a text that was cut.
    pub ellipsis: char,
    /// Frame to the server.
    pub to_server: &'static str,
    /// Frame to the client.
    pub to_client: &'static str,
    /// First frame of an operation or stream.
    pub first: &'static str,
    /// Later event of a stream.
    pub event: &'static str,
    /// Frame in the middle of an operation, or open stream.
    pub middle: &'static str,
    /// Response that ends an operation.
    pub last: &'static str,
    /// Operation without an answer, or engine without a client.
    pub pending: &'static str,
    /// Error, or server that has ended.
    pub error: &'static str,
    /// Success, or valid input.
    pub ok: &'static str,
    /// Held frame.
    pub held: &'static str,
    /// Frame that was edited.
    pub edited: &'static str,
    /// Frame that was dropped or withdrawn, operation that was cancelled, or session that has
    /// ended.
    pub dropped: &'static str,
    /// Frame that shadowcat injected.
    pub injected: &'static str,
    /// Request that was answered in the place of the peer, or such an answer.
    pub answered: &'static str,
    /// Recording.
    pub record: &'static str,
    /// Running session.
    pub live: &'static str,
    /// Warning.
    pub warning: &'static str,
    /// Operation as a whole.
    pub unfold: &'static str,
}

const GLYPHS: Glyphs = Glyphs {
    ellipsis: '…',
    to_server: "▶",
    to_client: "◀",
    first: "┌",
    event: "├",
    middle: "│",
    last: "└",
    pending: "◌",
    error: "✖",
    ok: "✓",
    held: "■",
    edited: "✎",
    dropped: "✂",
    injected: "⊕",
    answered: "≈",
    record: "◉",
    live: "●",
    warning: "⚠",
    unfold: "▸",
};

/// Returns the ASCII replacement of a sign.
fn plain(sign: &str) -> &'static str {
    match sign {
        "…" => "~",
        "▶" | "⟩" => ">",
        "◀" | "⟨" => "<",
        "┌" | "┐" | "└" | "┘" | "▸" | "├" => "+",
        "│" => "|",
        "─" | "·" | "▾" => "-",
        "‖" | "═" => "=",
        "╞" => "[",
        "╡" => "]",
        "▲" => "^",
        "▁" | "▂" => ".",
        "▃" | "▄" => ":",
        "▅" | "▆" => "+",
        "▇" | "█" => "#",
        "→" => ">",
        "✖" => "x",
        "✓" => ".",
        "■" => "#",
        "✎" => "e",
        "✂" => "%",
        "⊕" => "i",
        "≈" => "=",
        "◉" | "●" => "*",
        "⚠" => "!",
        _ => "?",
    }
}

impl App {
    pub(super) fn glyphs(&self) -> &'static Glyphs {
        &GLYPHS
    }

    fn span(&self, role: StyleRole, text: impl Into<String>) -> Span<'static> {
        Span::styled(text.into(), self.appearance.theme.style(role))
    }

    /// Returns a bordered pane, whose border shows whether it has the keyboard focus.
    fn pane(&self, title: String, focused: bool) -> Block<'static> {
        let role = if focused { StyleRole::Focus } else { StyleRole::Border };
        Block::new()
            .borders(Borders::ALL)
            .border_style(self.appearance.theme.style(role))
            .title(self.span(StyleRole::Title, format!(" {title} ")))
            .style(self.appearance.theme.style(StyleRole::Text))
    }
}

pub(super) use overlay::review_width;
/// Number of columns of the timeline on a screen of this width.
pub(super) use tape::columns as time_columns;

/// Draws the whole screen and returns the areas of its parts.
pub fn draw(frame: &mut Frame<'_>, app: &App) -> Areas {
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        too_small(frame, app, area);
        return Areas::default();
    }
    frame.buffer_mut().set_style(area, app.appearance.theme.style(StyleRole::Text));
    let [header, tabs, filter, main, footer] = area.layout(&Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ]));
    draw_header(frame, app, header);
    draw_tabs(frame, app, tabs);
    let mut areas = Areas { tabs, ..Areas::default() };
    match app.screen {
        Pane::Sessions => sessions::draw(frame, app, filter.union(main), &mut areas),
        Pane::Frames | Pane::Detail => {
            frames::draw_filter(frame, app, filter);
            draw_frames_and_detail(frame, app, main, &mut areas);
        }
        Pane::Intercept => {
            hold::draw_breakpoints(frame, app, filter);
            hold::draw(frame, app, main, &mut areas);
        }
        Pane::Tape => {
            frames::draw_filter(frame, app, filter);
            tape::draw(frame, app, main, &mut areas);
        }
        Pane::Doctor => doctor::draw(frame, app, filter.union(main), &mut areas),
        Pane::Diff => diff::draw(frame, app, filter.union(main), &mut areas),
        Pane::Compose => compose::draw(frame, app, filter.union(main), &mut areas),
        Pane::Logs => logs::draw(frame, app, filter.union(main), &mut areas),
        Pane::Help => help::draw(frame, app, filter.union(main), &mut areas),
    }
    draw_footer(frame, app, footer);
    overlay::draw(frame, app, area, filter);
    if app.appearance.ascii {
        for cell in &mut frame.buffer_mut().content {
            if !cell.symbol().is_ascii() {
                cell.set_symbol(plain(cell.symbol()));
            }
        }
    }
    areas
}

fn too_small(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let (width, height) = SMALLEST;
    let lines = vec![
        Line::from(app.span(StyleRole::Title, "shadowcat")),
        Line::from(format!("needs {width}x{height}")),
        Line::from(format!("this is {}x{}", area.width, area.height)),
    ];
    let top = area.height.saturating_sub(3) / 2;
    let middle = Rect { y: area.y + top, height: area.height - top, ..area };
    frame.render_widget(Paragraph::new(lines).alignment(Alignment::Center), middle);
}

fn draw_frames_and_detail(frame: &mut Frame<'_>, app: &App, main: Rect, areas: &mut Areas) {
    let side_by_side = main.width >= WIDE && !app.zoomed;
    if side_by_side {
        let [left, right] = main.layout(&Layout::horizontal([Constraint::Fill(6), Constraint::Fill(5)]));
        frames::draw(frame, app, left, areas);
        detail::draw(frame, app, right, areas);
    } else if app.in_detail {
        detail::draw(frame, app, main, areas);
    } else {
        frames::draw(frame, app, main, areas);
    }
}

fn draw_header(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let glyphs = app.glyphs();
    let style = app.appearance.theme.style(StyleRole::Header);
    frame.buffer_mut().set_style(area, style);
    let mut left =
        vec![Span::styled(" shadowcat ", app.appearance.theme.style(StyleRole::Accent).patch(bg(style)))];
    if let Some(session) = app.session().and_then(|id| app.world.sessions.get(&id)) {
        let mut text = format!(" {} {} s{}", clean(&session.opened.name), glyphs.unfold, session.id.0);
        for facts in [&session.server, &session.client].into_iter().flatten() {
            let name = facts.name.as_deref().map(clean).unwrap_or_default();
            let release = facts.release.as_deref().map(clean).unwrap_or_default();
            text.push_str(&format!(" · {name} {release}"));
        }
        let version = |facts: &Option<crate::log::record::Facts>| {
            facts.as_ref().and_then(|facts| facts.version.clone())
        };
        if let Some(version) = version(&session.server).or_else(|| version(&session.client)) {
            text.push_str(&format!(" · {}", clean(&version)));
        }
        left.push(Span::styled(text, style));
        let era = |facts: &Option<crate::log::record::Facts>| facts.as_ref().and_then(|facts| facts.era);
        if let (Some(client), Some(server)) = (era(&session.client), era(&session.server))
            && client != server
        {
            left.push(app.span(StyleRole::Error, format!(" ERA {client}->{server} ")));
        }
    }
    let right = header_state(app);
    let width: usize = right.iter().map(|span| span.content.width()).sum();
    let [left_area, right_area] = area.layout(&Layout::horizontal([
        Constraint::Fill(1),
        Constraint::Length(u16::try_from(width).unwrap_or(0)),
    ]));
    frame.render_widget(Line::from(left), left_area);
    frame.render_widget(Line::from(right), right_area);
}

fn bg(style: ratatui::style::Style) -> ratatui::style::Style {
    ratatui::style::Style { fg: None, ..style }
}

/// Delay from which the header warns that the view is behind.
const LAG: Duration = Duration::from_secs(1);

/// Returns the right side of the header: the states that the user must not overlook.
fn header_state(app: &App) -> Vec<Span<'static>> {
    let glyphs = app.glyphs();
    let style = app.appearance.theme.style(StyleRole::Header);
    let mut right = Vec::new();
    let live = app.world.sessions.values().any(|session| session.closed.is_none());
    let behind = app.lag();
    right.push(match (app.frames.paused, live) {
        _ if app.mode.is_tape() => Span::styled("tape ", style),
        (true, _) => app.span(StyleRole::Warning, format!("view paused +{} ", app.frames.unseen(&app.world))),
        (false, true) if behind >= LAG => {
            app.span(StyleRole::Warning, format!("view behind {} ", duration(behind)))
        }
        (false, true) if app.world.sessions.values().any(|session| session.is_down) => {
            app.span(StyleRole::Error, format!("{} server ended ", glyphs.error))
        }
        (false, true) => Span::styled(format!("{} live ", glyphs.live), style),
        (false, false) if app.world.sessions.is_empty() => Span::styled("waiting ", style),
        (false, false) => Span::styled("ended ", style),
    });
    let breakpoints = app.engine.breakpoints();
    let others = breakpoints
        .controllers
        .iter()
        .filter(|controller| Some(controller.id) != app.engine.who().controller);
    if let Some(other) = others.clone().find(|controller| controller.decides) {
        right.push(app.span(StyleRole::Warning, format!("{} decides ", clean(&other.name))));
    } else if others.clone().count() > 0 {
        right.push(Span::styled(format!("+{} watching ", others.count()), style));
    }
    let enabled = breakpoints.points.iter().filter(|point| point.enabled).count();
    if breakpoints.everything {
        right.push(app.span(StyleRole::Held, " HOLD ALL "));
    } else if enabled > 0 {
        let role = if breakpoints.armed { StyleRole::Warning } else { StyleRole::Dim };
        let word = if breakpoints.armed { "ARMED" } else { "disarmed" };
        right.push(app.span(role, format!("{word} {enabled} ")));
    }
    let status = app.recording.borrow().clone();
    right.push(match (&status.failing, &status.path) {
        (Some(_), _) => app.span(StyleRole::Error, format!("{} TAPE FAILS ", glyphs.record)),
        (None, Some(_)) => Span::styled(format!("{} {}B ", glyphs.record, count(status.bytes)), style),
        (None, None) if app.mode.is_home() => Span::styled("", style),
        (None, None) => app.span(StyleRole::Warning, "no tape "),
    });
    let lost = app.log().lost();
    if lost > 0 {
        right.push(app.span(StyleRole::Error, format!("gap {} ", count(lost))));
    }
    if let Some(oldest) = app.world.held.first() {
        let since = app.world.handling(*oldest).since;
        let age = since.map(|since| duration(app.now().since(since))).unwrap_or_default();
        right.push(app.span(StyleRole::Held, format!(" held {} {age} ", app.world.held.len())));
    }
    right
}

/// Returns the screens in the tab bar: the command that opens each, and its label with a badge.
fn tabs(app: &App) -> Vec<(Cmd, String)> {
    let held = app.world.held.len();
    let errors = app.logs.lines.iter().filter(|line| line.level == Level::Error).count();
    let badge =
        |count: usize| if count > 0 { format!("{}{count}", app.glyphs().live) } else { String::new() };
    let live = app.world.sessions.values().filter(|session| session.closed.is_none()).count();
    [
        (Cmd::ShowSessions, if live > 1 { format!("·{live}") } else { String::new() }),
        (Cmd::ShowFrames, String::new()),
        (Cmd::ShowIntercept, badge(held)),
        (Cmd::ShowCompose, badge(app.world.asked.len())),
        (Cmd::ShowTape, String::new()),
        (Cmd::ShowDiff, String::new()),
        (Cmd::ShowLogs, badge(errors)),
        (Cmd::ShowDoctor, String::new()),
        (Cmd::ShowHelp, String::new()),
    ]
    .into_iter()
    .map(|(command, badge)| (command, format!(" {} {}{badge} ", command.key(), command.short())))
    .collect()
}

fn screen_of(command: Cmd) -> Pane {
    match command {
        Cmd::ShowSessions => Pane::Sessions,
        Cmd::ShowIntercept => Pane::Intercept,
        Cmd::ShowCompose => Pane::Compose,
        Cmd::ShowTape => Pane::Tape,
        Cmd::ShowDiff => Pane::Diff,
        Cmd::ShowLogs => Pane::Logs,
        Cmd::ShowDoctor => Pane::Doctor,
        Cmd::ShowHelp => Pane::Help,
        _ => Pane::Frames,
    }
}

fn draw_tabs(frame: &mut Frame<'_>, app: &App, area: Rect) {
    frame.buffer_mut().set_style(area, app.appearance.theme.style(StyleRole::Tab));
    let span = |(command, text): (Cmd, String)| {
        let role = if screen_of(command) == app.screen { StyleRole::TabActive } else { StyleRole::Tab };
        app.span(role, text)
    };
    let line: Vec<Span<'_>> = tabs(app).into_iter().map(span).collect();
    frame.render_widget(Line::from(line), area);
}

/// Returns the command of the tab at `column`.
pub(super) fn tab_at(app: &App, column: usize) -> Option<Cmd> {
    let mut right = 0;
    tabs(app).into_iter().find_map(|(command, text)| {
        right += text.width();
        (column < right).then_some(command)
    })
}

/// Draws the footer: a message, else the keys of an overlay or editor, else the commands that
/// apply.
fn draw_footer(frame: &mut Frame<'_>, app: &App, area: Rect) {
    if let Some((text, level, _)) = &app.toast {
        let role = match level {
            Level::Info => StyleRole::Accent,
            Level::Warning => StyleRole::Warning,
            Level::Error => StyleRole::Error,
        };
        let text = fit(&clean(text), usize::from(area.width), app.glyphs().ellipsis);
        frame.render_widget(Line::from(app.span(role, text)), area);
        return;
    }
    let hints: &[(&str, &str)] = match &app.overlay {
        Some(Overlay::Review(_)) => &[("Enter", "change the file"), ("Esc", "cancel")],
        Some(Overlay::Prompt(_)) => &[("Enter", "accept"), ("Tab", "complete"), ("Esc", "cancel")],
        Some(Overlay::Menu(_)) => &[("key", "choose"), ("Esc", "cancel")],
        Some(Overlay::Palette(_)) => &[("Up Down", "choose"), ("Enter", "runs it"), ("Esc", "leaves")],
        Some(Overlay::Ask(_)) => {
            &[("Ctrl-s", "accept"), ("Ctrl-d", "decline"), ("Ctrl-x", "cancel"), ("Esc", "later")]
        }
        None if app.is_inserting() => &[
            ("Ctrl-s", "sends"),
            ("Ctrl-o", "$EDITOR"),
            ("Ctrl-z Ctrl-y", "undo, redo"),
            ("Esc", "leaves the text"),
        ],
        None => &[],
    };
    if !hints.is_empty() {
        let spans = hints.iter().flat_map(|(key, text)| {
            [app.span(StyleRole::Key, (*key).to_owned()), app.span(StyleRole::Dim, format!(" {text}  "))]
        });
        frame.render_widget(Line::from(spans.collect::<Vec<_>>()), area);
        return;
    }
    let asked = !app.world.asked.is_empty();
    let ask = asked.then_some(Cmd::AnswerServer);
    let mut spans = Vec::new();
    let mut used = 0;
    let usable = |command: &Cmd| app.why_not(*command).is_none();
    for command in ask.into_iter().chain(offered(app.active_pane()).iter().copied().filter(usable)) {
        let key = command.key().to_owned();
        let text = format!(" {}  ", command.short());
        used += key.width() + text.width();
        if used > usize::from(area.width) {
            break;
        }
        spans.push(app.span(if ask == Some(command) { StyleRole::Held } else { StyleRole::Key }, key));
        spans.push(app.span(StyleRole::Dim, text));
    }
    frame.render_widget(Line::from(spans), area);
}

/// Clears a box for an overlay in the middle of `area` and returns its place.
fn boxed(frame: &mut Frame<'_>, area: Rect, width: u16, height: u16) -> Rect {
    let width = width.min(area.width);
    let height = height.min(area.height);
    let place =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    frame.render_widget(Clear, place);
    place
}
