//! HTTP through the pipeline: every exchange is two lanes of a session, its request and its
//! response, and takes the same way as every message.

pub mod body;
pub mod context;

mod bridge;
mod exchange;
mod facts;
mod fit;
mod injected;
mod relay;
mod service;
mod sessions;

pub use bridge::{Bridge, OfClient};
pub use service::{Call, ProxyOptions, ProxyService, call_on};
