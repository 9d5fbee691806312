//! Table of commands, from which keys, footer, help and palette are made.

use super::chord::Chord;

/// Screen, or the detail pane that several screens share; commands apply in some of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pane {
    /// Running engines, sessions and recordings.
    Sessions,
    /// List of frames.
    Frames,
    /// Detail pane of the Frames and Tape screens.
    Detail,
    /// Held frames and breakpoints.
    Intercept,
    /// Calls and messages of the user.
    Compose,
    /// Timeline and playhead.
    Tape,
    /// Comparison of two recordings.
    Diff,
    /// Stderr of servers, and events.
    Logs,
    /// Checks of the servers.
    Doctor,
    /// Keys of the commands, and fields of queries.
    Help,
}

impl Pane {
    /// All panes.
    pub const ALL: [Self; 10] = [
        Self::Sessions,
        Self::Frames,
        Self::Detail,
        Self::Intercept,
        Self::Compose,
        Self::Tape,
        Self::Diff,
        Self::Logs,
        Self::Doctor,
        Self::Help,
    ];

    /// Returns the name in help and in messages.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Sessions => "Sessions",
            Self::Frames => "Frames",
            Self::Detail => "Detail",
            Self::Intercept => "Intercept",
            Self::Compose => "Compose",
            Self::Tape => "Tape",
            Self::Diff => "Diff",
            Self::Logs => "Logs",
            Self::Doctor => "Doctor",
            Self::Help => "Help",
        }
    }
}

/// Condition under which a command can be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// A server runs: the screen does not show a recording.
    Running,
    /// The session has a process that can be restarted.
    Restartable,
    /// The screen shows this machine.
    ThisMachine,
    /// The screen is the start screen.
    StartScreen,
    /// A session or recording is selected in the list.
    ListedSession,
    /// There is a session.
    AnySession,
    /// No held message is being edited.
    NoOpenEdit,
    /// If a frame is held, this screen decides on it.
    Deciding,
    /// A held frame is selected.
    HeldFrame,
    /// In a list of frames, a frame is selected.
    SelectedFrame,
    /// Matches are highlighted.
    Highlight,
    /// There is a text or form to send.
    Written,
    /// A message written by hand is open.
    OwnMessage,
    /// A call with a form is open.
    CallForm,
    /// There are breakpoints.
    Breakpoints,
    /// Another screen decides on held frames.
    NotDeciding,
    /// A server asks the user something.
    AskingServer,
}

const EVERYWHERE: &[Pane] = &Pane::ALL;
const LISTS: &[Pane] = EVERYWHERE;
const FRAMES: &[Pane] = &[Pane::Frames, Pane::Tape];
const MESSAGES: &[Pane] = &[Pane::Frames, Pane::Detail, Pane::Tape];
const TAPE: &[Pane] = &[Pane::Tape];
const SESSIONS: &[Pane] = &[Pane::Sessions];
const DIFF: &[Pane] = &[Pane::Diff];
const DETAIL: &[Pane] = &[Pane::Detail];
const INTERCEPT: &[Pane] = &[Pane::Intercept];
const COMPOSE: &[Pane] = &[Pane::Compose];
const SEEN: &[Pane] = &[Pane::Frames, Pane::Detail, Pane::Intercept];
const RUNNING: &[Pane] = &[Pane::Sessions, Pane::Frames, Pane::Detail, Pane::Intercept];
const NOTED: &[Pane] = &[Pane::Frames, Pane::Detail, Pane::Intercept, Pane::Tape];
const TEXTS: &[Pane] = &[Pane::Intercept, Pane::Compose];

macro_rules! commands {
    ($($name:ident $id:literal $keys:expr, $places:ident, [$($guard:ident),*], $short:literal, $help:literal;)+) => {
        /// Command that the user can give to the screen.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Cmd {
            $(
                /// Command with the description that [`Cmd::help`] returns.
                $name
            ),+
        }

        impl Cmd {
            /// All commands, in the order of help.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Returns the name in help and in the palette, unique among commands.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$name => $id),+ }
            }

            /// Returns the label in the footer.
            pub const fn short(self) -> &'static str {
                match self { $(Self::$name => $short),+ }
            }

            /// Returns the description in help and in the palette.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$name => $help),+ }
            }

            /// Returns the key sequences as they are written, such as `g g` or `Ctrl-p`.
            pub const fn keys(self) -> &'static [&'static str] {
                match self { $(Self::$name => &$keys),+ }
            }

            /// Returns the panes in which the command applies.
            pub const fn places(self) -> &'static [Pane] {
                match self { $(Self::$name => $places),+ }
            }

            /// Returns the conditions under which the command can be carried out. The reason given to
            /// the user is that of the first one that is not met.
            pub const fn guards(self) -> &'static [Guard] {
                match self { $(Self::$name => &[$(Guard::$guard),*]),+ }
            }
        }
    };
}

commands! {
    Down "nav.down" ["j", "Down"], LISTS, [NoOpenEdit], "down", "move down";
    Up "nav.up" ["k", "Up"], LISTS, [NoOpenEdit], "up", "move up";
    PageDown "nav.page-down" ["PgDn", "Ctrl-d"], LISTS, [], "page down", "move a page down";
    PageUp "nav.page-up" ["PgUp", "Ctrl-u"], LISTS, [], "page up", "move a page up";
    Top "nav.top" ["g g", "Home"], LISTS, [], "top", "go to the first row";
    End "nav.end" ["G", "End"], LISTS, [], "end", "go to the last row, and follow";
    Open "nav.open" ["Enter"], MESSAGES, [SelectedFrame], "open", "open the detail, fold or unfold in it";
    Left "nav.left" ["h", "Left"], MESSAGES, [], "fold", "fold, or leave the detail";
    Right "nav.right" ["l", "Right"], MESSAGES, [], "unfold", "unfold, or enter the detail";
    OtherPane "nav.pane" ["Tab", "BackTab"], NOTED, [], "pane", "go to the other pane";
    Back "nav.back" ["Esc"], EVERYWHERE, [], "back", "close, clear or go back";
    Zoom "view.zoom" ["z"], MESSAGES, [], "zoom", "give one pane the whole screen, and back";

    ShowSessions "screen.sessions" ["1"], EVERYWHERE, [], "Sessions", "running sessions and recorded tapes";
    ShowFrames "screen.frames" ["2"], EVERYWHERE, [], "Frames", "all frames of all sessions";
    ShowIntercept "screen.intercept" ["3"], EVERYWHERE, [], "Intercept", "held frames and breakpoints";
    ShowCompose "screen.compose" ["4"], EVERYWHERE, [], "Compose", "call tools and send messages";
    ShowTape "screen.tape" ["5"], EVERYWHERE, [], "Tape", "timeline: rewind, play, bookmarks, state at the playhead";
    ShowDiff "screen.diff" ["7"], EVERYWHERE, [], "Diff", "compare this recording with another one";
    ShowLogs "screen.logs" ["9"], EVERYWHERE, [], "Logs", "stderr of the servers and events of shadowcat";
    ShowDoctor "screen.doctor" ["0"], EVERYWHERE, [], "Doctor", "problems of this server and their causes";
    ShowHelp "screen.help" ["?"], EVERYWHERE, [], "help", "the keys of this screen";
    Palette "app.palette" ["Ctrl-p", ":"], EVERYWHERE, [], "palette", "find any command by name";

    Filter "filter.edit" ["/"], MESSAGES, [], "filter", "filter with a query";
    FilterErrors "filter.errors" ["!"], MESSAGES, [], "errors", "show errors only";
    FilterTool "filter.like" ["@"], MESSAGES, [SelectedFrame], "like this", "show frames of this tool or method only";
    FilterOp "filter.operation" ["#"], MESSAGES, [], "this op", "show this operation only";
    FilterNot "filter.not" ["-"], MESSAGES, [SelectedFrame], "not this", "hide frames of this tool or method";
    FilterPop "filter.pop" ["Backspace"], MESSAGES, [], "unfilter", "remove the newest filter";
    NextMatch "search.next" ["n"], MESSAGES, [Highlight], "next", "go to the next match of the highlight";
    PreviousMatch "search.previous" ["N"], MESSAGES, [Highlight], "previous", "go to the previous match";
    Operations "view.operations" ["o"], FRAMES, [], "operations", "one row per operation, or per frame";
    Follow "view.follow" ["f"], FRAMES, [], "follow", "stay at the newest frame";
    Pause "view.pause" ["p"], SEEN, [], "pause view", "pause the list; traffic and recording continue";
    ViewNext "view.next" ["v"], MESSAGES, [], "view", "next view: tree, pretty, raw, hex, http";
    ViewPrevious "view.previous" ["V"], MESSAGES, [], "view back", "previous view";

    NextInOp "go.next-in-operation" ["]"], MESSAGES, [], "next in op", "go to the next frame of this operation";
    PreviousInOp "go.previous-in-operation" ["["], MESSAGES, [], "prev in op", "go to the previous frame of this operation";
    NextError "go.next-error" ["g e"], MESSAGES, [], "next error", "go to the next error";
    PreviousError "go.previous-error" ["g E"], MESSAGES, [], "prev error", "go to the previous error";
    Slowest "go.slowest" ["g w"], MESSAGES, [], "slowest", "go to the slowest answer";
    Pair "go.pair" ["g p"], MESSAGES, [], "pair", "go from a request to its answer and back";
    OpRoot "go.operation" ["g o"], MESSAGES, [], "op root", "go to the request that began this operation";
    GoTo "go.number" ["g :"], MESSAGES, [], "go to #", "go to a frame by its number";

    StepBack "tape.back" [","], MESSAGES, [], "step back", "go one frame back";
    StepOn "tape.on" ["."], MESSAGES, [], "step on", "go one frame forward";
    Play "tape.play" ["p"], TAPE, [], "play", "play from here, or pause";
    Slower "tape.slower" ["<"], MESSAGES, [], "slower", "play slower";
    Faster "tape.faster" [">"], MESSAGES, [], "faster", "play faster, up to everything at once";
    GoToTime "tape.time" ["g t"], MESSAGES, [], "go to time", "go to a time: 12:03:04, +30s, -2m, 40%";
    Tenth "tape.tenth" ["g 0", "g 1", "g 2", "g 3", "g 4", "g 5", "g 6", "g 7", "g 8", "g 9"], MESSAGES, [], "go to tenth", "go to a tenth of the recording";
    Wider "tape.wider" ["("], TAPE, [], "wider", "zoom out";
    Closer "tape.closer" [")"], TAPE, [], "closer", "zoom in on the playhead";
    Mark "mark.set" ["m"], MESSAGES, [], "bookmark", "set a bookmark on this frame";
    NextMark "mark.next" ["}"], MESSAGES, [], "next mark", "go to the next bookmark or note";
    PreviousMark "mark.previous" ["{"], MESSAGES, [], "prev mark", "go to the previous bookmark or note";
    GoToMark "mark.go" ["'"], MESSAGES, [], "go to mark", "go to a bookmark by its letter";

    SessionOpen "session.open" ["Enter"], SESSIONS, [ListedSession], "frames", "show the frames of this session, or open this recording";
    SessionAll "session.all" ["a"], SESSIONS, [AnySession], "all frames", "show the frames of every session together";

    WrapServer "session.wrap" ["w", "Space s w"], SESSIONS, [ThisMachine], "wrap", "wrap a server in a client's configuration, or unwrap it";
    LaunchServer "session.launch" ["l", "Space s n"], SESSIONS, [ThisMachine, StartScreen], "launch", "launch a server here";
    OpenTape "tape.open" ["o", "Space t o"], SESSIONS, [ThisMachine, StartScreen], "open tape", "open a recording by its name or file";
    Demo "app.demo" ["d"], SESSIONS, [ThisMachine, StartScreen], "demo", "look around in the built-in demo";

    DiffWith "diff.with" ["="], DIFF, [], "compare with", "choose the recording to compare with";
    DiffIgnore "diff.ignore" ["-"], DIFF, [], "ignore", "ignore this path in the comparison";
    DiffOpen "diff.open" ["Enter"], DIFF, [], "show", "go to the frame of this difference";

    YankMessage "yank.message" ["y y"], NOTED, [SelectedFrame], "copy JSON", "copy the message";
    YankPath "yank.path" ["y p"], DETAIL, [], "copy path", "copy the JSONPath of this value";
    YankValue "yank.value" ["y v"], DETAIL, [], "copy value", "copy this value";

    Break "break.like" ["b"], MESSAGES, [Running, SelectedFrame], "break on this", "set a breakpoint on frames like this";
    BreakQuery "break.query" ["Space r b"], SEEN, [Running], "new breakpoint", "set a breakpoint with a query";
    BreakToggle "break.toggle" ["Space r t"], SEEN, [Breakpoints], "toggle breakpoint", "switch a breakpoint on or off by its number";
    BreakClear "break.clear" ["Space r x"], SEEN, [Breakpoints], "clear breakpoints", "remove every breakpoint";
    Arm "break.arm" ["i"], SEEN, [Running], "arm", "arm or disarm all breakpoints";
    HoldEverything "hold.everything" ["I"], SEEN, [Running], "hold all", "hold every frame, or release all";

    Accept "hold.accept" ["a"], INTERCEPT, [NoOpenEdit, Deciding, HeldFrame], "accept", "release the held frame";
    AcceptAll "hold.accept-all" ["A"], INTERCEPT, [Deciding], "accept all", "release all held frames";
    Edit "hold.edit" ["e"], INTERCEPT, [Deciding, HeldFrame], "edit", "edit the held message in place";
    EditOutside "hold.editor" ["E"], INTERCEPT, [HeldFrame], "$EDITOR", "edit it in your own editor";
    Drop "hold.drop" ["d"], INTERCEPT, [NoOpenEdit, Deciding, HeldFrame], "drop", "drop the held frame; choose what the sender gets";
    Answer "hold.answer" ["s"], INTERCEPT, [NoOpenEdit, Deciding, HeldFrame], "answer", "answer a held request instead of the peer";
    AcceptHold "hold.accept-hold-reply" ["w"], INTERCEPT, [NoOpenEdit, Deciding, HeldFrame], "accept+hold reply", "release the held frame and hold its reply";
    Delay "hold.delay" ["t"], INTERCEPT, [NoOpenEdit, Deciding, HeldFrame], "delay", "release the held frame after some seconds";
    KeepHeaders "hold.keep-headers" ["H"], INTERCEPT, [HeldFrame], "keep headers", "keep HTTP headers that repeat the body unchanged";
    Compare "hold.compare" ["="], INTERCEPT, [], "compare", "show the original message beside the edit";

    Resend "send.again" ["r"], MESSAGES, [Running, SelectedFrame], "resend", "send this message again, unchanged";
    Compose "send.compose" ["R", "e"], MESSAGES, [Running, SelectedFrame], "compose", "edit a copy and send it";
    Note "note.add" [";"], NOTED, [], "note", "write a note on this frame";

    Send "compose.send" ["Ctrl-s"], TEXTS, [Written], "send", "send the text or form";
    Form "compose.form" ["Ctrl-t"], COMPOSE, [CallForm], "form/JSON", "switch between the form and JSON";
    Target "compose.target" ["Ctrl-r"], COMPOSE, [OwnMessage], "to server/client", "switch the recipient: server or client";
    Blank "compose.blank" ["Ctrl-n"], COMPOSE, [Running], "blank", "write a new message";
    ComposeEditor "compose.editor" ["Ctrl-o"], TEXTS, [], "$EDITOR", "write it in your own editor";
    OtherField "compose.next" ["Tab"], COMPOSE, [], "next pane", "go to the next field or pane";
    PreviousField "compose.previous" ["BackTab"], COMPOSE, [], "previous pane", "go to the previous field or pane";
    Choose "compose.choose" ["Enter"], COMPOSE, [], "choose", "choose this tool, or edit this field";
    AnswerServer "ask.answer" ["Space q"], EVERYWHERE, [AskingServer], "answer server", "answer the server's question";

    TakeOver "control.decide" ["Space a d"], EVERYWHERE, [Running, NotDeciding], "decide here", "take control of held frames";
    Restart "session.restart" ["Space s r"], RUNNING, [Running, Restartable], "restart server", "restart the server";
    NextTheme "view.theme" ["Space v t"], EVERYWHERE, [], "theme", "the next theme";
    Ascii "view.ascii" ["Space v a"], EVERYWHERE, [], "ASCII", "toggle ASCII-only mode";
    DoctorCopy "doctor.copy" ["y y"], DOCTOR, [], "copy report", "copy everything as a bug report";
    ErrorsOnly "logs.errors" ["!"], LOGS, [], "errors", "show warnings and errors only";
    Quit "app.quit" ["q"], EVERYWHERE, [], "quit", "quit; asks if frames are held";
    QuitNow "app.quit-now" ["Ctrl-c"], EVERYWHERE, [], "quit now", "quit; press twice to quit although frames are held";
}

const LOGS: &[Pane] = &[Pane::Logs];
const DOCTOR: &[Pane] = &[Pane::Doctor];

impl Cmd {
    /// Returns the key sequences, parsed.
    pub fn chords(self) -> impl Iterator<Item = Vec<Chord>> {
        self.keys().iter().filter_map(|keys| Chord::sequence(keys))
    }

    /// Returns the first key sequence, for the footer; empty if there is none.
    pub fn key(self) -> &'static str {
        self.keys().first().copied().unwrap_or_default()
    }
}

/// Returns the commands that the footer offers in a pane, most useful first.
pub fn offered(place: Pane) -> &'static [Cmd] {
    match place {
        Pane::Sessions => &[
            Cmd::SessionOpen,
            Cmd::SessionAll,
            Cmd::WrapServer,
            Cmd::LaunchServer,
            Cmd::OpenTape,
            Cmd::Demo,
            Cmd::Restart,
            Cmd::TakeOver,
            Cmd::ShowHelp,
            Cmd::Quit,
        ],
        Pane::Frames => &[
            Cmd::Open,
            Cmd::Break,
            Cmd::Filter,
            Cmd::Operations,
            Cmd::Compose,
            Cmd::Resend,
            Cmd::Arm,
            Cmd::Follow,
            Cmd::ShowHelp,
        ],
        Pane::Detail => &[
            Cmd::Open,
            Cmd::ViewNext,
            Cmd::YankMessage,
            Cmd::YankPath,
            Cmd::YankValue,
            Cmd::NextInOp,
            Cmd::Break,
            Cmd::Zoom,
            Cmd::Back,
        ],
        Pane::Intercept => &[
            Cmd::Accept,
            Cmd::Edit,
            Cmd::Drop,
            Cmd::Answer,
            Cmd::AcceptHold,
            Cmd::Delay,
            Cmd::AcceptAll,
            Cmd::TakeOver,
            Cmd::HoldEverything,
            Cmd::BreakQuery,
        ],
        Pane::Compose => &[
            Cmd::Choose,
            Cmd::OtherField,
            Cmd::Send,
            Cmd::Form,
            Cmd::Blank,
            Cmd::Target,
            Cmd::ComposeEditor,
            Cmd::Back,
            Cmd::Palette,
        ],
        Pane::Tape => &[
            Cmd::Play,
            Cmd::StepBack,
            Cmd::StepOn,
            Cmd::Slower,
            Cmd::Faster,
            Cmd::Mark,
            Cmd::Note,
            Cmd::GoToTime,
            Cmd::Closer,
            Cmd::End,
        ],
        Pane::Diff => &[Cmd::DiffWith, Cmd::DiffOpen, Cmd::DiffIgnore, Cmd::Up, Cmd::Down, Cmd::Back],
        Pane::Logs => {
            &[Cmd::Up, Cmd::Down, Cmd::End, Cmd::ErrorsOnly, Cmd::ShowFrames, Cmd::ShowHelp, Cmd::Quit]
        }
        Pane::Doctor => &[Cmd::DoctorCopy, Cmd::Up, Cmd::Down, Cmd::ShowFrames, Cmd::ShowHelp, Cmd::Quit],
        Pane::Help => &[Cmd::Up, Cmd::Down, Cmd::Back, Cmd::Palette, Cmd::Quit],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_spelled_right() {
        for command in Cmd::ALL {
            assert_eq!(command.chords().count(), command.keys().len(), "{}", command.id());
            let first = Cmd::ALL.iter().find(|other| other.id() == command.id());
            assert_eq!(first, Some(command), "{} is a double name", command.id());
        }
    }

    #[test]
    fn no_key_means_two_things_in_one_place() {
        for place in Pane::ALL {
            let here: Vec<(Cmd, Vec<Chord>)> = Cmd::ALL
                .iter()
                .filter(|command| command.places().contains(&place))
                .flat_map(|command| command.chords().map(|chords| (*command, chords)))
                .collect();
            for (index, (command, chords)) in here.iter().enumerate() {
                for (other, others) in &here[..index] {
                    let shorter = chords.len().min(others.len());
                    assert_ne!(
                        chords[..shorter],
                        others[..shorter],
                        "{command:?} and {other:?} in {place:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_footer_offers_only_what_applies() {
        for place in Pane::ALL {
            for command in offered(place) {
                assert!(command.places().contains(&place), "{command:?} in {place:?}");
            }
        }
    }
}
