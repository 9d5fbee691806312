//! Shadowcat: a terminal debugger for MCP, the Model Context Protocol.
//!
//! This is a tour of the rooms, from the ground up. A room uses only rooms named before it (a
//! test keeps that), so this is also an order to read in.
//!
//! - [`clock`]: the one source of time. Tests move it; nothing sleeps to pass.
//! - [`mcp`]: the protocol, pure. A [`mcp::Message`] is its bytes as they arrived and an outline
//!   of slices into them; parsing never fails and nothing is re-serialised. Ids, methods,
//!   revisions, eras and framing are here too.
//! - [`log`]: what happened. A [`log::Record`] is the only fact; the [`log::Log`] is append-only,
//!   bounded in memory, and the bus of the program: the screen and the tape follow it as
//!   [`log::Tail`]s and can never slow the wire. [`log::world`] folds records into what a screen
//!   shows, [`log::operation`] ties messages together, [`log::query`] asks about them.
//! - [`tape`]: recordings on disk, JSON Lines with marks and a seal; writing, reading, finding.
//! - [`oauth`]: being the OAuth client of a server: finding who issues tokens, asking the person,
//!   keeping and renewing.
//! - [`transport`]: what carries bytes. [`transport::Outlet`] is the way out of a lane: an ordered
//!   queue with one writer at a time. Child processes, our own standard streams, memory,
//!   HTTP.
//! - [`intercept`]: the stages between the lanes. An [`intercept::Interceptor`] answers each frame
//!   with a verdict, now or later; breakpoints are one.
//! - [`engine`]: all that a front end may know of a running proxy: its log and its commands.
//! - [`control`]: the socket of an engine, for screens, scripts and agents elsewhere.
//!   [`control::Hub`] looks at many engines as one.
//! - [`proxy`]: the running thing. [`proxy::session::Session`] is the way of every message: record,
//!   rule, deliver, confirm. [`proxy::host::Host`] carries out commands, [`proxy::http`] makes
//!   lanes of HTTP exchanges (and an HTTP server of a stdio one), [`proxy::client::Client`] is the built-in client,
//!   [`proxy::supervise`] sees to a clean end.
//! - [`gateway`]: a server behind one HTTP endpoint: routes, health, metrics, the hop to it.
//! - [`demo`]: a small server of both eras with every kind of trouble, and what is said to it.
//! - [`clients`]: the configuration files of MCP clients, and us in front of a server in them.
//! - [`doctor`]: what is wrong with a server, told from what was said.
//! - [`tui`]: the screen. [`tui::App::update`] takes inputs and gives effects, [`tui::view`] draws,
//!   one table ([`tui::command`]) makes keys, footer, help and palette.
//! - [`cli`]: the command line; each file assembles one mode of the program, outermost first.

#![forbid(unsafe_code)]

pub mod clock;
pub mod mcp;

pub mod log;
pub mod oauth;
pub mod tape;
pub mod transport;

pub mod intercept;

pub mod engine;

pub mod control;
pub mod proxy;

pub mod gateway;

pub mod clients;
pub mod demo;
pub mod doctor;
pub mod tui;

pub mod cli;
