//! What each command does.

use std::sync::Arc;

use super::app::{App, Effect, Purpose};
use super::command::{Cmd, Place};
use super::composer::{Draft, Focus};
use super::frames::Chip;
use super::overlay::{Choice, Menu, Overlay, Palette, Prompt, Wants};
use super::theme::Theme;
use crate::engine::{Command, Tell};
use crate::log::query::Query;
use crate::log::record::{Level, Role, Seq};
use crate::log::world::Row;
use crate::mcp::compose::INTERNAL_ERROR;

impl App {
    /// Carries out a command, or says why it cannot be.
    pub fn run(&mut self, command: Cmd) {
        if command != Cmd::QuitNow {
            self.leaving = false;
        }
        if let Some(why) = self.why_not(command) {
            self.say(Level::Info, why);
            return;
        }
        match command {
            Cmd::Down => self.step(1),
            Cmd::Up => self.step(-1),
            Cmd::PageDown => self.step(self.page()),
            Cmd::PageUp => self.step(-self.page()),
            Cmd::Top => self.step(isize::MIN),
            Cmd::End => self.to_end(),
            Cmd::Open => self.open(),
            Cmd::Left => self.left(),
            Cmd::Right => self.right(),
            Cmd::OtherPane => self.in_detail = !self.in_detail && self.screen == Place::Frames,
            Cmd::Back => self.back(),
            Cmd::Zoom => self.zoomed = !self.zoomed,
            Cmd::ShowFrames => self.show(Place::Frames),
            Cmd::ShowIntercept => self.show(Place::Intercept),
            Cmd::ShowCompose => self.show(Place::Compose),
            Cmd::ShowLogs => self.show(Place::Logs),
            Cmd::ShowHelp => self.show(Place::Help),
            Cmd::Palette => self.overlay = Some(Overlay::Palette(Palette::new(self.place()))),
            Cmd::Filter => self.prompt(Wants::Filter, ""),
            Cmd::FilterErrors => self.narrow("status:error"),
            Cmd::FilterTool => self.filter_like(""),
            Cmd::FilterNot => self.filter_like("-"),
            Cmd::FilterOp => {
                if let Some(op) = self.selected_row().and_then(|row| row.op) {
                    self.narrow(&format!("op:{}", op.0));
                }
            }
            Cmd::FilterPop => self.pop_filter(),
            Cmd::NextMatch => self.jump_where(true, |app, row| app.is_match(row)),
            Cmd::PreviousMatch => self.jump_where(false, |app, row| app.is_match(row)),
            Cmd::Operations => {
                self.frames.operations = !self.frames.operations;
                self.rebuild();
            }
            Cmd::Follow => {
                self.frames.follow = !self.frames.follow;
                if self.frames.follow {
                    self.to_end();
                }
            }
            Cmd::Pause => {
                self.frames.paused = !self.frames.paused;
                self.update_list();
            }
            Cmd::ViewNext => self.look_at(1),
            Cmd::ViewPrevious => self.look_at(3),
            Cmd::NextInOp => self.within_operation(1),
            Cmd::PreviousInOp => self.within_operation(-1),
            Cmd::NextError => self.jump_where(true, |_, row| row.is_error),
            Cmd::PreviousError => self.jump_where(false, |_, row| row.is_error),
            Cmd::Slowest => {
                let slowest = self
                    .world
                    .rows
                    .iter()
                    .filter(|row| row.duration.is_some())
                    .max_by_key(|row| row.duration);
                self.jump(slowest.map(|row| row.seq));
            }
            Cmd::Pair => self.jump(self.pair()),
            Cmd::OpRoot => {
                let operation = self.selected_row().and_then(|row| self.world.operations.get(&row.op?));
                self.jump(operation.and_then(|operation| operation.frames.first().copied()));
            }
            Cmd::GoTo => self.prompt(Wants::FrameNumber, ""),
            Cmd::YankMessage => self.yank_message(),
            Cmd::YankPath => {
                if let Some(path) = self.detail.node().map(|node| node.path.clone()) {
                    self.copy(path, "the JSONPath");
                }
            }
            Cmd::YankValue => self.yank_value(),
            Cmd::Break => self.break_menu(),
            Cmd::BreakQuery => self.prompt(Wants::Breakpoint, ""),
            Cmd::BreakToggle => self.prompt(Wants::ToggleBreakpoint, ""),
            Cmd::BreakClear => {
                for point in self.engine.breakpoints().points {
                    self.send(Command::RemoveBreakpoint(point.id), Purpose::Quiet);
                }
            }
            Cmd::Arm => {
                let armed = !self.engine.breakpoints().armed;
                let text = if armed { "breakpoints are armed" } else { "breakpoints are disarmed" };
                self.send(Command::Arm(armed), Purpose::Say(text.into()));
            }
            Cmd::HoldEverything => self.hold_everything(),
            Cmd::Accept => self.on_held(|frame| Command::Accept { frame }),
            Cmd::AcceptAll => self.send(Command::AcceptAll, Purpose::Say("everything goes on".into())),
            Cmd::AcceptHold => self.on_held(|frame| Command::AcceptAndHoldReply { frame }),
            Cmd::Edit => self.edit_held(),
            Cmd::EditOutside => self.edit_outside(),
            Cmd::Answer => self.answer_held(),
            Cmd::Drop => self.drop_menu(),
            Cmd::Delay => {
                if let Some(frame) = self.hold.selected(&self.world) {
                    self.prompt(Wants::Delay(frame), "5");
                }
            }
            Cmd::Compare => self.hold.compare = !self.hold.compare,
            Cmd::Resend => self.resend(),
            Cmd::Compose => self.compose(),
            Cmd::Note => {
                let frame = match self.screen {
                    Place::Intercept => self.hold.selected(&self.world),
                    _ => self.frames.selected(),
                };
                self.prompt(Wants::Note(frame), "");
            }
            Cmd::Send => self.send_written(),
            Cmd::Form => {
                if let Err(error) = self.composer.switch() {
                    self.say(Level::Warning, error);
                }
            }
            Cmd::Target => {
                if let Some(Draft::Message { to, .. }) = &mut self.composer.draft {
                    *to = to.reverse();
                }
            }
            Cmd::Blank => {
                if let Some(session) = self.session() {
                    self.composer.write(session, crate::mcp::Direction::ToServer, None);
                }
            }
            Cmd::ComposeEditor => self.edit_outside(),
            Cmd::OtherField => self.move_focus(1),
            Cmd::PreviousField => self.move_focus(-1),
            Cmd::Choose => self.composer.choose(),
            Cmd::AnswerServer => self.open_ask(),
            Cmd::Restart => {
                if let Some(session) = self.session() {
                    self.send(
                        Command::Restart { session },
                        Purpose::Say("the server is starting again".into()),
                    );
                }
            }
            Cmd::NextTheme => self.next_theme(),
            Cmd::Ascii => self.look.ascii = !self.look.ascii,
            Cmd::ErrorsOnly => self.logs.errors_only = !self.logs.errors_only,
            Cmd::Quit => self.quit(),
            Cmd::QuitNow if self.leaving => self.effect(Effect::Quit),
            Cmd::QuitNow => {
                self.leaving = true;
                self.quit();
            }
        }
    }

    /// Why a command cannot be carried out now, as a sentence that says what to do instead.
    pub fn why_not(&self, command: Cmd) -> Option<&'static str> {
        let held = self.hold.selected(&self.world).is_some();
        match command {
            Cmd::Accept
            | Cmd::AcceptHold
            | Cmd::Edit
            | Cmd::EditOutside
            | Cmd::Drop
            | Cmd::Answer
            | Cmd::Delay
                if !held =>
            {
                Some("nothing is held; b on a frame makes a breakpoint, I holds everything")
            }
            Cmd::Open
            | Cmd::Break
            | Cmd::Resend
            | Cmd::Compose
            | Cmd::YankMessage
            | Cmd::FilterTool
            | Cmd::FilterNot
                if self.screen == Place::Frames && self.frames.selected().is_none() =>
            {
                Some("no frame is selected")
            }
            Cmd::NextMatch | Cmd::PreviousMatch if self.frames.highlight.is_none() => {
                Some("nothing is highlighted; / and then Ctrl-t highlights matches")
            }
            Cmd::Send if self.screen == Place::Compose && self.composer.draft.is_none() => {
                Some("choose a tool with Enter, or write a message with Ctrl-n")
            }
            Cmd::Send if self.screen == Place::Intercept && self.hold.editing.is_none() => {
                Some("nothing is being edited; e edits the held message")
            }
            Cmd::Target if !matches!(self.composer.draft, Some(Draft::Message { .. })) => {
                Some("only a message written by hand (Ctrl-n) can go to either side")
            }
            Cmd::Form if !matches!(self.composer.draft, Some(Draft::Call { .. })) => {
                Some("only a call has a form")
            }
            Cmd::BreakClear | Cmd::BreakToggle if self.engine.breakpoints().points.is_empty() => {
                Some("there are no breakpoints; b on a frame makes one")
            }
            Cmd::AnswerServer if self.world.asked.is_empty() => Some("no server is asking anything"),
            _ => None,
        }
    }

    // --- moving

    fn page(&self) -> isize {
        let height = if self.in_detail { self.detail_height() } else { self.list_height() };
        isize::try_from(height.saturating_sub(1).max(1)).unwrap_or(1)
    }

    pub(super) fn step(&mut self, by: isize) {
        let height = self.list_height();
        match self.place() {
            Place::Detail => {
                let at = self.detail.cursor.saturating_add_signed(by);
                self.detail.go(at, self.detail_height());
            }
            Place::Intercept => {
                let last = self.world.held.len().saturating_sub(1);
                self.hold.cursor = self.hold.cursor.saturating_add_signed(by).min(last);
            }
            Place::Logs => self.logs.scroll(by, height),
            Place::Help => self.help_top = self.help_top.saturating_add_signed(by).min(Cmd::ALL.len()),
            Place::Frames | Place::Compose => {
                let at = self.frames.cursor.saturating_add_signed(by);
                self.frames.go(at, height);
            }
        }
    }

    fn to_end(&mut self) {
        if self.place() == Place::Frames {
            self.frames.follow = true;
            self.frames.paused = false;
            self.update_list();
            let height = self.list_height();
            self.frames.go(usize::MAX, height);
        } else {
            self.step(isize::MAX / 2);
        }
    }

    fn open(&mut self) {
        if self.place() == Place::Detail {
            let log = Arc::clone(self.log());
            let job = self.detail.toggle(&log);
            self.render(job);
        } else if self.fold_operation() {
            self.rebuild();
        } else {
            self.in_detail = true;
        }
    }

    /// Folds or unfolds the operation under the cursor; false if there is none.
    fn fold_operation(&mut self) -> bool {
        let line = self.frames.lines.get(self.frames.cursor);
        let Some(op) = line.and_then(|line| line.op) else { return false };
        if !self.frames.unfolded.remove(&op) {
            self.frames.unfolded.insert(op);
        }
        self.frames.follow = false;
        true
    }

    fn left(&mut self) {
        if self.place() != Place::Detail {
            return;
        }
        let log = Arc::clone(self.log());
        if self.detail.node().is_some_and(|node| node.unfolded == Some(true)) {
            let job = self.detail.toggle(&log);
            self.render(job);
        } else if !self.detail.to_parent(self.detail_height()) {
            self.in_detail = false;
        }
    }

    fn right(&mut self) {
        if self.place() != Place::Detail {
            self.in_detail = true;
            return;
        }
        if self.detail.node().is_some_and(|node| node.unfolded == Some(false)) {
            let log = Arc::clone(self.log());
            let job = self.detail.toggle(&log);
            self.render(job);
        }
    }

    fn back(&mut self) {
        self.toast = None;
        if self.keymap.cancel() {
        } else if self.screen == Place::Help {
            self.screen = self.before_help;
        } else if self.zoomed {
            self.zoomed = false;
            self.in_detail = false;
        } else if self.in_detail {
            self.in_detail = false;
        } else if self.screen == Place::Intercept && self.hold.editing.is_some() {
            self.hold.editing = None;
        } else if self.screen == Place::Compose && self.composer.focus != Focus::List {
            self.composer.focus = Focus::List;
        } else if self.frames.highlight.take().is_none() && self.screen != Place::Frames {
            self.screen = Place::Frames;
        }
    }

    fn show(&mut self, place: Place) {
        if place == Place::Help && self.screen != Place::Help {
            self.before_help = self.screen;
            self.help_top = 0;
        }
        self.screen = place;
    }

    fn jump(&mut self, to: Option<Seq>) {
        let height = self.list_height();
        match to {
            Some(seq) if self.frames.select(seq, height) => self.frames.follow = false,
            Some(seq) => {
                self.say(Level::Info, format!("#{seq} is hidden by the filter; Backspace removes it"))
            }
            None => self.say(Level::Info, "there is none"),
        }
    }

    pub(super) fn jump_to(&mut self, seq: Seq) {
        self.jump(Some(seq));
    }

    fn jump_where(&mut self, forward: bool, fits: impl Fn(&Self, &Row) -> bool) {
        let lines = &self.frames.lines;
        let fits = |line: &super::frames::Line| self.world.row(line.seq).is_some_and(|row| fits(self, row));
        let at = self.frames.cursor;
        let found = match forward {
            true => lines.iter().skip(at + 1).find(|line| fits(line)),
            false => lines[..at.min(lines.len())].iter().rev().find(|line| fits(line)),
        };
        self.jump(found.map(|line| line.seq));
    }

    fn is_match(&self, row: &Row) -> bool {
        let subject = crate::log::world::RowSubject { world: &self.world, row, log: self.log() };
        self.frames.highlight.as_ref().is_some_and(|query| query.matches(&subject))
    }

    fn within_operation(&mut self, by: isize) {
        let Some(row) = self.selected_row() else { return };
        let operation = row.op.and_then(|op| self.world.operations.get(&op));
        let seq = row.seq;
        let next = operation.and_then(|operation| {
            let at = operation.frames.iter().position(|frame| *frame == seq)?;
            operation.frames.get(at.checked_add_signed(by)?).copied()
        });
        self.jump(next);
    }

    /// The answer to the selected request, or the request of the selected answer.
    fn pair(&self) -> Option<Seq> {
        let row = self.selected_row()?;
        let operation = self.world.operations.get(&row.op?)?;
        let is_answer = |row: &Row| matches!(row.role, Role::Response | Role::InputRequired);
        let find = |wanted: &dyn Fn(&Row) -> bool| {
            operation.frames.iter().copied().find(|seq| self.world.row(*seq).is_some_and(wanted))
        };
        match is_answer(row) {
            true => find(&|row| matches!(row.role, Role::Request | Role::Retry)),
            false => find(&is_answer),
        }
    }

    pub(super) fn selected_row(&self) -> Option<&Row> {
        self.world.row(self.frames.selected()?)
    }

    fn look_at(&mut self, steps: usize) {
        let log = Arc::clone(self.log());
        let view = self.detail.view.step(steps);
        let job = self.detail.look(view, &log);
        self.render(job);
    }

    // --- filters

    fn update_list(&mut self) {
        let log = Arc::clone(self.log());
        let height = self.list_height();
        self.frames.sync(&self.world, &log, &[], height);
    }

    fn rebuild(&mut self) {
        let log = Arc::clone(self.log());
        let height = self.list_height();
        self.frames.rebuild(&self.world, &log, height);
    }

    /// Adds a filter to those in force.
    pub(super) fn narrow(&mut self, text: &str) {
        match Query::parse(text) {
            Ok(query) if query.is_empty() => {}
            Ok(query) => {
                self.frames.chips.push(Chip { query });
                self.rebuild();
            }
            Err(error) => self.say(Level::Warning, error.to_string()),
        }
    }

    fn pop_filter(&mut self) {
        if self.frames.chips.pop().is_some() {
            self.rebuild();
        } else {
            self.say(Level::Info, "no filter is set; / sets one");
        }
    }

    /// The query that finds frames like the selected one.
    fn like(&self) -> Option<String> {
        let row = self.selected_row()?;
        let quoted = |text: &str| match text.contains([' ', '(', ')', '|', ',', '"', '*', '?']) {
            true => serde_json::Value::from(text).to_string(),
            false => text.to_owned(),
        };
        match (self.world.text(row.target), self.world.text(row.method)) {
            (Some(target), _) => Some(format!("tool:{}", quoted(target))),
            (None, Some(method)) => Some(format!("method:{}", quoted(method))),
            (None, None) => Some(format!("kind:{}", row.kind)),
        }
    }

    fn filter_like(&mut self, sign: &str) {
        if let Some(like) = self.like() {
            self.narrow(&format!("{sign}{like}"));
        }
    }

    pub(super) fn prompt(&mut self, wants: Wants, text: &str) {
        self.overlay = Some(Overlay::Prompt(Prompt::new(wants, text)));
        self.check_prompt();
    }

    // --- copying

    pub(super) fn copy(&mut self, text: String, what: &str) {
        self.say(Level::Info, format!("{what} is on the clipboard"));
        self.effect(Effect::Copy(text));
    }

    fn yank_message(&mut self) {
        let seq = match self.screen {
            Place::Intercept => self.hold.selected(&self.world),
            _ => self.frames.selected(),
        };
        let record = seq.and_then(|seq| self.log().get(seq));
        if let Some(frame) = record.as_ref().and_then(|record| record.frame()) {
            let text = String::from_utf8_lossy(frame.message.body()).into_owned();
            self.copy(text, "the message");
        }
    }

    fn yank_value(&mut self) {
        let Some(span) = self.detail.node().map(|node| node.span.clone()) else { return };
        let record = self.detail.seq.and_then(|seq| self.log().get(seq));
        if let Some(frame) = record.as_ref().and_then(|record| record.frame()) {
            let text = String::from_utf8_lossy(frame.message.slice(span)).into_owned();
            self.copy(text, "the value");
        }
    }

    // --- breakpoints and holds

    fn break_menu(&mut self) {
        let Some(row) = self.selected_row() else { return };
        let direction = format!("dir:{}", row.direction.as_str());
        let mut queries = Vec::new();
        if let Some(like) = self.like() {
            queries.push(format!("{like} {direction}"));
            queries.push(like);
        }
        if let Some(method) = self.world.text(row.method) {
            queries.push(format!("method:{method} {direction}"));
        }
        queries.push("status:error".to_owned());
        queries.dedup();
        let items =
            ('1'..).zip(queries).map(|(key, query)| (key, query.clone(), Choice::Break(query))).collect();
        self.overlay = Some(Overlay::Menu(Menu { title: "Break on".into(), items }));
    }

    fn hold_everything(&mut self) {
        if self.engine.breakpoints().everything {
            self.send(Command::HoldEverything(false), Purpose::Say("everything goes on".into()));
            return;
        }
        let items = vec![('y', "hold every message from now on".to_owned(), Choice::HoldEverything)];
        self.overlay = Some(Overlay::Menu(Menu { title: "Stop the world?".into(), items }));
    }

    fn on_held(&mut self, command: impl Fn(Seq) -> Command) {
        if let Some(frame) = self.hold.selected(&self.world) {
            self.send(command(frame), Purpose::Quiet);
        }
    }

    fn edit_held(&mut self) {
        let seq = self.hold.selected(&self.world);
        if let Some(record) = seq.and_then(|seq| self.log().get(seq))
            && let Some(frame) = record.frame()
        {
            self.hold.edit(record.seq, frame);
        }
    }

    fn answer_held(&mut self) {
        let seq = self.hold.selected(&self.world);
        if let Some(record) = seq.and_then(|seq| self.log().get(seq))
            && let Some(frame) = record.frame()
            && !self.hold.answer(record.seq, frame)
        {
            self.say(Level::Info, "only a request can be answered; e edits, d drops this");
        }
    }

    fn edit_outside(&mut self) {
        let text = match self.screen {
            Place::Intercept => {
                if self.hold.editing.is_none() {
                    self.edit_held();
                }
                self.hold.editing.as_ref().map(super::hold::Editing::written)
            }
            _ => self.composer.draft.as_ref().and_then(|draft| match draft {
                Draft::Message { text, .. } | Draft::Call { text, as_json: true, .. } => {
                    Some(text.lines().join("\n"))
                }
                Draft::Call { .. } => None,
            }),
        };
        match text {
            Some(text) => self.effect(Effect::Editor(text)),
            None => self.say(Level::Info, "a form cannot be edited outside; Ctrl-t makes it JSON"),
        }
    }

    pub(super) fn edited(&mut self, text: Result<String, String>) {
        match (text, self.screen) {
            (Err(error), _) => self.say(Level::Warning, error),
            (Ok(text), Place::Intercept) => {
                if let Some(editing) = &mut self.hold.editing {
                    editing.text = super::composer::text_area(&text);
                }
            }
            (Ok(text), _) => {
                if let Some(Draft::Message { text: area, .. } | Draft::Call { text: area, .. }) =
                    &mut self.composer.draft
                {
                    *area = super::composer::text_area(&text);
                }
            }
        }
    }

    fn drop_menu(&mut self) {
        let Some(seq) = self.hold.selected(&self.world) else { return };
        let error = Tell::Error { code: INTERNAL_ERROR, message: "dropped by shadowcat".into() };
        let failed = Tell::ToolError { text: "dropped by shadowcat".into() };
        let item = |key, text: &str, tell| (key, text.to_owned(), Choice::Drop(seq, tell));
        let items = vec![
            item('1', "silence: whoever waits goes on waiting", Tell::Silence),
            item('2', "a JSON-RPC error (-32603)", error),
            item('3', "a tool result with isError", failed),
            item('4', "the connection is closed", Tell::Close),
        ];
        let title = format!("Drop #{seq}: what does the peer get?");
        self.overlay = Some(Overlay::Menu(Menu { title, items }));
    }

    pub(super) fn choose(&mut self, choice: Choice) {
        match choice {
            Choice::Drop(frame, tell) => self.send(Command::Drop { frame, tell }, Purpose::Quiet),
            Choice::Break(query) => {
                let text = format!("breakpoint on {query}; 3 shows what it holds");
                self.send(Command::Break(query), Purpose::Say(text));
            }
            Choice::HoldEverything => {
                self.send(
                    Command::HoldEverything(true),
                    Purpose::Say("everything is held; I again releases".into()),
                );
            }
            Choice::QuitReleasing => {
                self.send(Command::AcceptAll, Purpose::Quiet);
                self.effect(Effect::Quit);
            }
            Choice::QuitDropping => {
                for frame in self.world.held.clone() {
                    self.send(Command::Drop { frame, tell: Tell::Silence }, Purpose::Quiet);
                }
                self.effect(Effect::Quit);
            }
        }
    }

    // --- sending

    fn resend(&mut self) {
        let Some(record) = self.frames.selected().and_then(|seq| self.log().get(seq)) else { return };
        let Some(frame) = record.frame() else { return };
        let (session, to) = (self.session().unwrap_or(record.session), frame.direction);
        let line = bytes::Bytes::copy_from_slice(frame.message.body());
        self.send(
            Command::Inject { session, to, line },
            Purpose::Say(format!("#{} was sent again", record.seq)),
        );
    }

    fn compose(&mut self) {
        let Some(record) = self.frames.selected().and_then(|seq| self.log().get(seq)) else { return };
        let Some(frame) = record.frame() else { return };
        let session = self.session().unwrap_or(record.session);
        self.composer.write(session, frame.direction, Some(&frame.message));
        self.show(Place::Compose);
    }

    fn send_written(&mut self) {
        if self.screen == Place::Intercept {
            let Some(editing) = &mut self.hold.editing else { return };
            match editing.send() {
                Ok(command) => {
                    self.hold.editing = None;
                    self.send(command, Purpose::Quiet);
                }
                Err(wrong) => {
                    self.say(Level::Warning, format!("{wrong}. Ctrl-s again sends it all the same"))
                }
            }
            return;
        }
        let session = self.session();
        match self.composer.send(&self.world) {
            Ok(Some(command)) => {
                let session = match &command {
                    Command::Call { session, .. } | Command::Inject { session, .. } => *session,
                    _ => session.unwrap_or(crate::log::SessionId(0)),
                };
                self.send(command, Purpose::Call(session));
            }
            Ok(None) => {
                if let Some(wrong) = self.composer.confirm.clone() {
                    self.say(Level::Warning, format!("{wrong}. Ctrl-s again sends it all the same"));
                }
            }
            Err(wrong) => self.say(Level::Warning, wrong),
        }
    }

    fn move_focus(&mut self, by: isize) {
        let composer = &mut self.composer;
        match composer.focus {
            Focus::List => {
                let last = composer.offers.len().saturating_sub(1);
                composer.cursor = composer.cursor.saturating_add_signed(by).min(last);
            }
            Focus::Draft => composer.focus = Focus::Reply,
            Focus::Reply => composer.focus = Focus::List,
        }
    }

    // --- the rest

    fn next_theme(&mut self) {
        let names = Theme::names(self.look.themes.as_deref());
        let at = names.iter().position(|name| *name == self.look.theme.name).map_or(0, |at| at + 1);
        let name = names[at % names.len()].clone();
        match Theme::find(&name, self.look.themes.as_deref()) {
            Ok(theme) => {
                self.look.theme = if self.look.colour { theme } else { theme.without_colour() };
                self.say(Level::Info, format!("theme {name}"));
            }
            Err(error) => self.say(Level::Warning, error.to_string()),
        }
    }

    fn quit(&mut self) {
        if self.world.held.is_empty() {
            self.effect(Effect::Quit);
            return;
        }
        let count = self.world.held.len();
        let items = vec![
            ('r', "release everything and quit".to_owned(), Choice::QuitReleasing),
            ('d', "drop what is held and quit".to_owned(), Choice::QuitDropping),
        ];
        let noun = if count == 1 { "message is" } else { "messages are" };
        let title = format!("{count} {noun} held; Esc stays");
        self.overlay = Some(Overlay::Menu(Menu { title, items }));
    }
}
