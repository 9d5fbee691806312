//! The stages between the lanes: interceptors that forward, hold, change, answer or drop frames.
//!
//! An interceptor answers each frame with a [`Verdict`], now or later:
//!
//! ```
//! use shadowcat::intercept::{Chain, Inspected, Interceptor, Ruling, Verdict, priority};
//! use std::sync::Arc;
//!
//! /// Drops every call of one tool.
//! struct Block(&'static str);
//!
//! impl Interceptor for Block {
//!     fn name(&self) -> &str {
//!         "block"
//!     }
//!
//!     fn rule(&self, frame: &Inspected<'_>) -> Option<Ruling> {
//!         let is_blocked = frame.messages().any(|message| message.target() == Some(self.0));
//!         is_blocked.then(|| Verdict::Drop.into())
//!     }
//! }
//!
//! let chain = Chain::new().with(priority::RULES, Arc::new(Block("rm")));
//! assert!(!chain.is_empty());
//! ```

pub mod breakpoints;
pub mod chain;
pub mod controllers;
pub mod inspected;
pub mod verdict;

pub use breakpoints::Breakpoints;
pub use chain::{Chain, Interceptor, SharedChain, priority};
pub use controllers::Controllers;
pub use inspected::{Inspected, InspectedMessage};
pub use verdict::{Decision, Outgoing, Pace, PendingVerdict, ResponseHead, Ruling, Verdict};
