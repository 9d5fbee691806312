//! The control socket: JSON-RPC 2.0, one message per line, over a Unix socket that belongs to one
//! engine.
//! [`crate::engine::Command`] lists the commands that an engine carries out, [`api::Ask`] its other
//! requests; `shadowcat ctl schema` prints both as an OpenRPC document.

pub mod agent;
pub mod api;
pub mod client;
pub mod hub;
mod library;
mod numbers;
pub mod reach;
mod reading;
mod schema;
pub mod server;
pub mod sockets;
mod wire;

pub use client::{ControlClient, Notice};
pub use hub::Hub;
pub use schema::document;
pub use server::{About, ControlServer, serve};
