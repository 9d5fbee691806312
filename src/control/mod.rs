//! The control socket: JSON-RPC 2.0, one message a line, over a Unix socket that belongs to one
//! engine. What an engine can be told is [`crate::engine::Command`]; what can be asked of it is
//! [`api::Ask`]; `shadowcat ctl schema` prints both as an OpenRPC document.

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

pub use client::{Client, Notice};
pub use hub::Hub;
pub use schema::document;
pub use server::{About, Server, serve};
