//! People are told what happens to rollouts: which messages, in which words, in which form, and in which order.
//!
//! A message is a function of a history entry and the channel's settings ([`message`]), what is sent of it a function of the
//! message and the kind of the channel ([`form`]), and the [`outbox`] a state machine that is given the time and the answers.
//! Only [`send`] talks to the world, by the client that asks metric sources.

pub mod answer;
pub mod channel;
pub mod cohorts;
pub mod digest;
pub mod filter;
pub mod form;
pub mod message;
pub mod outbox;
pub mod schedule;
pub mod send;
pub mod smtp;
pub mod template;
pub mod text;
pub mod words;
