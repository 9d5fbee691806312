//! Shadowcat: a terminal debugger and gateway for MCP, the Model Context Protocol.
//!
//! This page lists the top-level modules, lowest first. A module uses only modules that are listed
//! before it, which a test checks, so the order is also an order to read in.
//!
//! - [`clock`]: the only source of time. Tests advance it instead of sleeping.
//! - [`mcp`]: the protocol without I/O. A [`mcp::Message`] consists of its bytes as they arrived and
//!   an outline of slices into them: parsing never fails and nothing is serialized again. Ids,
//!   methods, revisions, eras and framing are here too.
//! - [`log`]: the log of facts. Every fact is a [`log::Record`]; the [`log::Log`] is append-only,
//!   bounded in memory, and the bus of the program: screen and tape follow it as [`log::Tail`]s and
//!   cannot slow the wire. [`log::world`] folds records into the state that a screen shows,
//!   [`log::operation`] links the messages of an operation, [`log::query`] filters records.
//! - [`tape`]: recordings on disk as JSON Lines with marks and a seal.
//! - [`oauth`]: the OAuth client: discovery, consent, storing and refreshing tokens.
//! - [`transport`]: carriers of bytes: child processes, standard streams, memory pipes, HTTP. A
//!   [`transport::WriterQueue`] is the outgoing end of a lane: an ordered queue with one writer.
//! - [`intercept`]: the stages between lanes. An [`intercept::Interceptor`] answers each frame with
//!   a verdict, now or later; breakpoints are one interceptor.
//! - [`engine`]: the interface between a front end and a running proxy: its log and its commands.
//! - [`control`]: the control socket of an engine, for screens, scripts and agents in other
//!   processes. [`control::Hub`] shows many engines as one.
//! - [`session`]: the pipeline. A [`session::Session`] records each message, asks the chain for a
//!   verdict, delivers it and confirms the write. It does no I/O.
//! - [`stdio`]: stdio servers: threads and tasks that read and write their streams, restart,
//!   sharing between clients, shutdown.
//! - [`client`]: the built-in MCP client.
//! - [`host`]: the running engine, which opens sessions and carries out commands.
//! - [`http`]: HTTP exchanges as lanes of sessions.
//! - [`serve`]: stdio servers behind an HTTP endpoint.
//! - [`replay`]: recordings that take the place of a server or of a client.
//! - [`gateway`]: an MCP server behind a production HTTP endpoint: routes, health, metrics.
//! - [`clients`]: the configuration files of MCP clients, and the wrapping of servers in them.
//! - [`demo`]: a small server of both eras, and a script of calls to it.
//! - [`doctor`]: checks of a server, made on recorded traffic.
//! - [`tui`]: the screen. [`tui::App::update`] takes inputs and returns effects, [`tui::view`]
//!   draws, and one table ([`tui::command`]) defines keys, footer, help and palette.
//! - [`cli`]: the command line. Each file assembles one mode of the program, outermost layer first.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod clock;
pub mod mcp;
pub mod places;

pub mod log;
pub mod oauth;
pub mod tape;
pub mod transport;

pub mod intercept;

pub mod engine;

pub mod control;

pub mod session;
pub mod stdio;

pub mod client;
pub mod host;
pub mod http;
pub mod serve;

pub mod replay;

pub mod gateway;

pub mod clients;
pub mod demo;
pub mod doctor;
pub mod tui;

pub mod cli;
