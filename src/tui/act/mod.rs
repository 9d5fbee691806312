//! Actions of the commands.

mod decide;
mod diff;
mod go;
mod narrow;
mod scrub;
mod send;
mod sessions;

use super::app::{App, Effect, NextScreen, Purpose};
use super::command::{Cmd, Guard, Pane};
use super::composer::Draft;
use super::overlay::{Overlay, Palette, Wants};
use crate::engine::Command;
use crate::log::record::Level;
use crate::log::world::Row;

impl App {
    /// Carries out a command, or shows the reason why it cannot be carried out.
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
            Cmd::End => self.go_to_end(),
            Cmd::Open => self.open(),
            Cmd::Left => self.left(),
            Cmd::Right => self.right(),
            Cmd::OtherPane => {
                self.in_detail = !self.in_detail && matches!(self.screen, Pane::Frames | Pane::Tape);
            }
            Cmd::Back => self.back(),
            Cmd::Zoom => self.zoomed = !self.zoomed,
            Cmd::ShowSessions => self.show_sessions(),
            Cmd::SessionOpen => self.open_session(),
            Cmd::SessionAll => {
                self.frames.chips.clear();
                self.rebuild();
                self.show(Pane::Frames);
            }
            Cmd::WrapServer => self.effect(Effect::FindServers),
            Cmd::LaunchServer => self.prompt(Wants::Launch, ""),
            Cmd::OpenTape => self.prompt(Wants::Recording, ""),
            Cmd::Demo => self.open_next(NextScreen::Demo),
            Cmd::ShowFrames => self.show(Pane::Frames),
            Cmd::ShowIntercept => self.show(Pane::Intercept),
            Cmd::ShowCompose => self.show(Pane::Compose),
            Cmd::ShowTape => self.show(Pane::Tape),
            Cmd::ShowDiff => self.show(Pane::Diff),
            Cmd::DiffWith => self.prompt(Wants::Other, ""),
            Cmd::DiffIgnore => self.ignore_path(),
            Cmd::DiffOpen => self.show_difference(),
            Cmd::ShowLogs => self.show(Pane::Logs),
            Cmd::ShowDoctor => self.show(Pane::Doctor),
            Cmd::DoctorCopy => {
                let title = self.doctor_of().and_then(|id| self.world.sessions.get(&id));
                let title =
                    title.map_or_else(|| "every session".to_owned(), |session| session.opened.name.clone());
                let report = self.doctor.report(&title, &self.world, self.log(), self.doctor_of());
                self.copy(report, "the report");
            }
            Cmd::ShowHelp => self.show(Pane::Help),
            Cmd::Palette => self.overlay = Some(Overlay::Palette(Palette::new(self.active_pane()))),
            Cmd::Filter => self.prompt(Wants::Filter, ""),
            Cmd::FilterErrors => self.narrow("status:error"),
            Cmd::FilterTool => self.filter_like(""),
            Cmd::FilterNot => self.filter_like("-"),
            Cmd::FilterOp => {
                if let Some(op) = self.selected_row().and_then(Row::op) {
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
                    self.go_to_end();
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
                    .filter(|row| row.duration().is_some())
                    .max_by_key(|row| row.duration());
                self.jump(slowest.map(|row| row.seq));
            }
            Cmd::Pair => self.jump(self.pair()),
            Cmd::OpRoot => {
                let operation = self.selected_row().and_then(|row| self.world.root(row));
                self.jump(operation.and_then(|operation| self.world.first(operation)).map(|row| row.seq));
            }
            Cmd::GoTo => self.prompt(Wants::FrameNumber, ""),
            Cmd::StepBack => self.step_frame(-1),
            Cmd::StepOn => self.step_frame(1),
            Cmd::Play => self.play(),
            Cmd::Slower => self.change_speed(-1),
            Cmd::Faster => self.change_speed(1),
            Cmd::GoToTime => self.prompt(Wants::Time, ""),
            Cmd::Tenth => match self.keymap.take_digit() {
                Some(digit) => self.go_to_tenth(digit),
                None => self.prompt(Wants::Time, "10%"),
            },
            Cmd::Wider => self.zoom_time(false),
            Cmd::Closer => self.zoom_time(true),
            Cmd::Mark => self.ask_mark(),
            Cmd::NextMark => self.go_to_mark(true),
            Cmd::PreviousMark => self.go_to_mark(false),
            Cmd::GoToMark => self.prompt(Wants::Letter, ""),
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
                    self.send(Command::RemoveBreakpoint { id: point.id }, Purpose::Quiet);
                }
            }
            Cmd::Arm => {
                let armed = !self.engine.breakpoints().armed;
                let text = if armed { "breakpoints are armed" } else { "breakpoints are disarmed" };
                self.send(Command::Arm { armed }, Purpose::Say(text.into()));
            }
            Cmd::HoldEverything => self.hold_everything(),
            Cmd::Accept => self.on_held(|frame| Command::Accept { frame }),
            Cmd::AcceptAll => {
                self.send(Command::AcceptAll {}, Purpose::Say("all held frames are released".into()))
            }
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
            Cmd::KeepHeaders => self.keep_headers(),
            Cmd::Compare => self.hold.compare = !self.hold.compare,
            Cmd::Resend => self.resend(),
            Cmd::Compose => self.compose(),
            Cmd::Note => {
                let frame = match self.screen {
                    Pane::Intercept => self.hold.selected(&self.world),
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
            Cmd::Target => self.composer.turn(),
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
            Cmd::TakeOver => {
                let controller = self.engine.who().controller.unwrap_or_default();
                self.send(
                    Command::TakeOver { controller },
                    Purpose::Say("you now decide on held frames".into()),
                );
            }
            Cmd::Restart => {
                if let Some(session) = self.session() {
                    self.ask_restart(session);
                }
            }
            Cmd::NextTheme => self.next_theme(),
            Cmd::Ascii => self.appearance.ascii = !self.appearance.ascii,
            Cmd::ErrorsOnly => self.logs.errors_only = !self.logs.errors_only,
            Cmd::Quit => self.quit(),
            Cmd::QuitNow if self.leaving => self.effect(Effect::Quit),
            Cmd::QuitNow => {
                self.leaving = true;
                self.quit();
            }
        }
    }

    /// Returns the reason why a command cannot be carried out now, as a sentence that says what to
    /// do instead.
    pub fn why_not(&self, command: Cmd) -> Option<&'static str> {
        command.guards().iter().find_map(|guard| self.unmet(*guard))
    }

    /// Returns the reason why a condition is not met; `None` if it is met.
    fn unmet(&self, guard: Guard) -> Option<&'static str> {
        let held = self.hold.selected(&self.world).is_some();
        let in_list = matches!(self.screen, Pane::Frames | Pane::Tape);
        let (unmet, why) = match guard {
            Guard::Running => (
                self.mode.is_tape(),
                "this is a recording without a running server; `shadowcat tape replay` can answer from it",
            ),
            Guard::Restartable => {
                (!self.starts_again(), "this session has no process that shadowcat can restart")
            }
            Guard::ThisMachine => {
                (self.mode.is_remote(), "this screen shows another machine; run `shadowcat tui` there")
            }
            Guard::StartScreen => (
                !self.mode.is_home(),
                "only available on the start screen (`shadowcat tui`); q leaves this screen",
            ),
            Guard::ListedSession => {
                (self.sessions.selected(&self.world).is_none(), "there are no sessions and no recordings yet")
            }
            Guard::AnySession => (self.world.sessions.is_empty(), "there is no session yet"),
            Guard::NoOpenEdit => (
                self.screen == Pane::Intercept && self.hold.editing.is_some(),
                "an edit is open: e resumes it, Ctrl-s sends it, Esc discards it",
            ),
            Guard::Deciding => (held && !self.decides(), "another screen decides here; Space a d takes over"),
            Guard::HeldFrame => {
                (!held, "no frame is held; b on a frame sets a breakpoint, I holds every frame")
            }
            Guard::SelectedFrame => (in_list && self.frames.selected().is_none(), "no frame is selected"),
            Guard::Highlight => (
                self.frames.highlight.is_none(),
                "nothing is highlighted; / and then Ctrl-t highlights matches",
            ),
            Guard::Written => match self.screen {
                Pane::Compose => (
                    self.composer.draft.is_none(),
                    "choose a tool with Enter, or write a message with Ctrl-n",
                ),
                Pane::Intercept => {
                    (self.hold.editing.is_none(), "nothing is being edited; e edits the held message")
                }
                _ => return None,
            },
            Guard::OwnMessage => (
                !matches!(self.composer.draft, Some(Draft::Message { .. })),
                "only a message written by hand (Ctrl-n) can go to either side",
            ),
            Guard::CallForm => {
                (!matches!(self.composer.draft, Some(Draft::Call { .. })), "only a call has a form")
            }
            Guard::Breakpoints => (
                self.engine.breakpoints().points.is_empty(),
                "there are no breakpoints; b on a frame sets one",
            ),
            Guard::NotDeciding => (self.decides(), "you already decide here"),
            Guard::AskingServer => (self.world.asked.is_empty(), "no server is asking anything"),
        };
        unmet.then_some(why)
    }
}
