//! The outbox of a channel: what waits, what has been taken in, and when what is tried next. A state machine that is given
//! the time and the answers.
//!
//! Its durable part is the channel's status. What has not been written there yet is known: a crash then loses nothing, as
//! the history of the rollout still has what the status does not, and repeats no more than [`MOST_UNRECORDED`] messages,
//! each once.
//!
//! Two times are told apart: `at` is when something was decided, by the clock of schedules; `now` is the machine's.

use std::time::Duration;

use jiff::SignedDuration;

use crate::api::notificationchannel::{
    DigestStatus, Heard, LastError, MOST_HEARD, MOST_QUEUED, MOST_THREADS, NotificationChannelStatus,
    OutboxEntry, Thread,
};
use crate::api::{Condition, MicroTime};

use super::answer::Against;

/// Messages that may be sent before it is written that they were.
pub const MOST_UNRECORDED: usize = 8;
/// Most bytes of the messages that wait: with everything else they have to fit into one object.
pub const MOST_BYTES: usize = 768 * 1024;
/// How old a message may become before it is given up: nobody wants to read it then.
pub const EXPIRES: SignedDuration = SignedDuration::from_hours(24);
/// The first wait after a failure.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait after a failure.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// No wait is longer: a later time was written by a clock that has been set back since.
const BELIEVED: SignedDuration = SignedDuration::from_hours(2);
/// Most bytes of what went wrong.
const LONGEST_ERROR: usize = 300;

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// This message is to be sent.
    Send(Box<OutboxEntry>),
    /// Nothing before then.
    Wait(MicroTime),
    /// Nothing before what was done is written.
    Record,
    /// Nothing.
    Idle,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It is sent. Slack's bot has made this message by it.
    Sent(Option<Thread>),
    /// It is tried again.
    Failed {
        /// Why.
        why: String,
        /// Whom it counts against.
        against: Against,
        /// How long the receiver asks to be left alone.
        after: Option<Duration>,
    },
    /// It is given up.
    Refused(String),
    /// Nothing is sent any more until the spec is changed.
    Gone {
        /// Why.
        why: String,
        /// The spec's generation.
        generation: i64,
    },
}

/// The outbox.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    status: NotificationChannelStatus,
    /// Counts changes of what is to be written.
    changes: u64,
    /// The change up to which everything is written.
    recorded: u64,
    /// The changes at which messages were sent since.
    unrecorded: Vec<u64>,
    /// What the status said when it was read: what another process had taken in.
    before: Vec<Heard>,
    before_until: Option<MicroTime>,
}

impl Outbox {
    /// The outbox that a channel's status holds; one that nobody has seen yet begins at `at`.
    pub fn load(status: NotificationChannelStatus, at: MicroTime) -> Outbox {
        let mut outbox = Outbox { status, ..Outbox::default() };
        if outbox.status.since.is_none() {
            outbox.status.since = Some(at);
            outbox.status.heard_until = Some(at);
            outbox.changes = 1;
        }
        outbox.before.clone_from(&outbox.status.heard);
        outbox.before_until = outbox.status.heard_until.max(outbox.status.since);
        outbox
    }

    /// The durable part as it is now.
    pub fn status(&self) -> &NotificationChannelStatus {
        &self.status
    }

    /// Whether there is something to be written.
    pub fn is_dirty(&self) -> bool {
        self.changes > self.recorded
    }

    /// Whether this has been taken in before, or was before the channel's time.
    ///
    /// `is_first` says that nothing of the rollout has been heard in this process: then what came before `heardUntil` has
    /// been taken in by another one. Later on even what was decided long ago and stored late is news.
    pub fn knows(&self, entry: &OutboxEntry, is_first: bool) -> bool {
        let heard = self.status.heard.iter().chain(self.before.iter().filter(|_| is_first));
        let mut heard = heard.filter(|heard| heard.uid == entry.rollout.uid);
        if heard.any(|heard| heard.seq >= entry.seq && heard.at >= entry.at) {
            return true;
        }
        let until = if is_first { self.before_until } else { self.status.since };
        until.is_some_and(|until| entry.at <= until)
    }

    /// Takes in a message.
    ///
    /// Where there is no room, the least severe one gives way, of several the oldest.
    pub fn push(&mut self, entry: OutboxEntry) {
        self.hear(&entry);
        self.status.outbox.push(entry);
        let mut bytes = match self.status.outbox.len() > MOST_QUEUED / 4 {
            true => self.status.outbox.iter().map(size).sum(),
            // So few are never too large.
            false => 0,
        };
        while self.status.outbox.len() > MOST_QUEUED || bytes > MOST_BYTES {
            let least = self.status.outbox.iter().enumerate().min_by_key(|(i, entry)| (entry.severity, *i));
            let Some((least, _)) = least else { break };
            let gone = self.status.outbox.remove(least);
            bytes = bytes.saturating_sub(size(&gone));
            self.status.dropped = self.status.dropped.saturating_add(1);
        }
        self.changed();
    }

    /// Notes that everything of a rollout up to an entry has been taken in.
    fn hear(&mut self, entry: &OutboxEntry) {
        let uid = &entry.rollout.uid;
        let heard = Heard { uid: uid.clone(), seq: entry.seq, at: entry.at };
        match self.status.heard.iter_mut().find(|known| known.uid == *uid) {
            Some(known) => *known = heard,
            None => self.status.heard.push(heard),
        }
    }

    /// Says that everything that was decided up to `at` has been heard of. It is written with the next change.
    pub fn hear_until(&mut self, at: MicroTime) {
        let until = self.status.heard_until.map_or(at, |until| until.max(at));
        self.status.heard_until = Some(until);
        self.status.heard.retain(|heard| heard.at > until);
        let too_many = self.status.heard.len().saturating_sub(MOST_HEARD);
        if too_many > 0 {
            self.status.heard.sort_by_key(|heard| heard.at);
            let last = self.status.heard.drain(..too_many).next_back();
            self.status.heard_until = last.map(|last| last.at).or(self.status.heard_until);
        }
    }

    /// Takes note of something that is told nowhere here. It is written only where nothing has been for a while.
    pub fn pass_over(&mut self, at: MicroTime, a_while: SignedDuration) {
        if self.status.heard_until.is_none_or(|until| at.duration_since(until) > a_while) {
            self.changed();
        }
    }

    /// Gives up what became too old.
    pub fn expire(&mut self, now: MicroTime) {
        let before = self.status.outbox.len();
        self.status.outbox.retain(|entry| now.duration_since(entry.queued_at) <= EXPIRES);
        let expired = before - self.status.outbox.len();
        if expired > 0 {
            self.status.dropped = self.status.dropped.saturating_add(i64::try_from(expired).unwrap_or(0));
            self.changed();
        }
    }

    /// What is to be done at this time. `spacing` is the least time from one message to the next.
    ///
    /// Messages of one rollout are sent in their order. One that fails holds up its rollout, and not another's.
    pub fn next(&self, now: MicroTime, generation: i64, spacing: SignedDuration) -> Next {
        let status = &self.status;
        if let Some(next) = self.held_up(now, generation, spacing) {
            return next;
        }
        let due = |at: &MicroTime| *at > now && at.duration_since(now) <= BELIEVED;
        let mut held: Vec<&str> = Vec::new();
        let mut soonest: Option<MicroTime> = None;
        for entry in &status.outbox {
            if held.contains(&entry.rollout.uid.as_str()) {
                continue;
            }
            match entry.retry_at.filter(due) {
                None => return Next::Send(Box::new(entry.clone())),
                Some(at) => {
                    held.push(&entry.rollout.uid);
                    soonest = Some(soonest.map_or(at, |soonest| soonest.min(at)));
                }
            }
        }
        soonest.map_or(Next::Idle, Next::Wait)
    }

    /// Why nothing at all is to be sent at this time.
    pub fn held_up(&self, now: MicroTime, generation: i64, spacing: SignedDuration) -> Option<Next> {
        let status = &self.status;
        if status.gone_generation == Some(generation) {
            return Some(Next::Idle);
        }
        if self.unrecorded.len() >= MOST_UNRECORDED {
            return Some(Next::Record);
        }
        let due = |at: &MicroTime| *at > now && at.duration_since(now) <= BELIEVED;
        let spaced = status.last_sent_at.map(|sent| sent.saturating_add(spacing));
        status.retry_at.filter(due).max(spaced.filter(due)).map(Next::Wait)
    }

    /// The time of its schedule that a digest was sent for last; when the channel began where it never was.
    pub fn digest_at(&self, name: &str) -> Option<MicroTime> {
        let sent = self.status.digests.iter().find(|digest| digest.name == name);
        sent.map(|digest| digest.at).or(self.status.since)
    }

    /// Notes that a digest was sent for a time of its schedule, or has nothing to say. Those that the spec does not name are
    /// forgotten.
    pub fn keep_digest(&mut self, name: &str, at: MicroTime, names: &[&str]) {
        let digests = &mut self.status.digests;
        digests.retain(|known| known.name != name && names.contains(&known.name.as_str()));
        digests.push(DigestStatus { name: name.to_owned(), at });
        self.changed();
    }

    /// Takes in what became of a message. `chance`, from 0 to 1, spreads the waits.
    pub fn settle(&mut self, entry: &OutboxEntry, settled: Settled, now: MicroTime, chance: f64) {
        let place = self.status.outbox.iter().position(|known| {
            known.seq == entry.seq && known.rollout.uid == entry.rollout.uid && known.at == entry.at
        });
        self.settled(place, settled, now, chance);
    }

    fn settled(&mut self, place: Option<usize>, settled: Settled, now: MicroTime, chance: f64) {
        self.changed();
        match settled {
            Settled::Sent(thread) => {
                self.unrecorded.push(self.changes);
                let status = &mut self.status;
                place.map(|place| status.outbox.remove(place));
                status.sent = status.sent.saturating_add(1);
                status.last_sent_at = Some(now);
                (status.failures, status.retry_at) = (0, None);
                if let Some(thread) = thread {
                    self.keep_thread(thread);
                }
            }
            Settled::Failed { why, against, after } => {
                self.fail(why, now);
                let status = &mut self.status;
                let pause = after.map_or(wait(status.failures, chance), |after| after.max(FIRST_WAIT));
                status.retry_at = Some(later(now, pause));
                if let Some(entry) = place.and_then(|place| status.outbox.get_mut(place)) {
                    entry.attempts = entry.attempts.saturating_add(1).min(1_000_000);
                    if against == Against::Message {
                        entry.retry_at = Some(later(now, wait(entry.attempts, chance)));
                    }
                }
            }
            Settled::Refused(why) => {
                self.fail(why, now);
                place.map(|place| self.status.outbox.remove(place));
                self.status.dropped = self.status.dropped.saturating_add(1);
            }
            Settled::Gone { why, generation } => {
                self.fail(why, now);
                self.status.gone_generation = Some(generation);
            }
        }
    }

    /// Takes in what became of a digest for a time of its schedule. One that is refused is given up.
    pub fn settle_digest(
        &mut self,
        (name, at, names): (&str, MicroTime, &[&str]),
        settled: Settled,
        now: MicroTime,
        chance: f64,
    ) {
        if matches!(settled, Settled::Sent(_) | Settled::Refused(_)) {
            self.keep_digest(name, at, names);
        }
        self.settled(None, settled, now, chance);
    }

    /// What Slack's bot has posted of an attempt.
    pub fn thread(&self, entry: &OutboxEntry) -> Option<&Thread> {
        let rollout = &entry.rollout;
        self.status.threads.iter().find(|t| t.uid == rollout.uid && t.attempt == rollout.attempt)
    }

    /// Keeps what Slack's bot has posted of an attempt; of an earlier one nothing is edited any more.
    fn keep_thread(&mut self, thread: Thread) {
        self.status.threads.retain(|known| known.uid != thread.uid);
        self.status.threads.push(thread);
        let too_many = self.status.threads.len().saturating_sub(MOST_THREADS);
        self.status.threads.drain(..too_many);
    }

    /// Forgets what is not there any more to be edited.
    pub fn forget_thread(&mut self, entry: &OutboxEntry) {
        let rollout = &entry.rollout;
        self.status.threads.retain(|t| t.uid != rollout.uid || t.attempt != rollout.attempt);
        self.changed();
    }

    /// Begins anew after an edit of the spec: what failed before may go through now.
    pub fn retry_now(&mut self) {
        let status = &mut self.status;
        (status.failures, status.retry_at, status.gone_generation) = (0, None, None);
        status.outbox.iter_mut().for_each(|entry| entry.retry_at = None);
        self.changed();
    }

    /// What is to be written, and a number to say that it was.
    pub fn to_record(&mut self) -> (NotificationChannelStatus, u64) {
        self.status.queued = i32::try_from(self.status.outbox.len()).unwrap_or(i32::MAX);
        (self.status.clone(), self.changes)
    }

    /// Takes note that what had this number is written, with these conditions.
    pub fn recorded(&mut self, number: u64, conditions: &[Condition]) {
        self.status.conditions = conditions.to_vec();
        self.recorded = self.recorded.max(number);
        self.unrecorded.retain(|change| *change > number);
    }

    /// Notes that something else is to be written.
    pub fn changed(&mut self) {
        self.changes = self.changes.saturating_add(1);
    }

    fn fail(&mut self, why: String, now: MicroTime) {
        let message = super::text::line(&why, LONGEST_ERROR);
        self.status.last_error = Some(LastError { at: now, message });
        self.status.failures = self.status.failures.saturating_add(1).min(1_000_000);
    }
}

/// About how many bytes a message takes in the status; its names and instants take as many for all.
fn size(entry: &OutboxEntry) -> usize {
    let rollout = &entry.rollout;
    let optional =
        [&rollout.title, &rollout.owner, &rollout.phase, &rollout.step, &rollout.exposure, &rollout.served];
    let optional: usize = optional.into_iter().flatten().map(|text| text.len() + 16).sum();
    let texts = [&rollout.namespace, &rollout.name, &rollout.uid, &entry.message, &entry.who];
    let texts: usize = texts.into_iter().map(String::len).sum();
    420 + texts + optional + entry.trigger.as_ref().map_or(0, String::len)
}

/// The wait after so many failures in a row: doubling, a quarter less to a quarter more.
fn wait(failures: i32, chance: f64) -> Duration {
    let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(0).min(16);
    let wait = FIRST_WAIT.saturating_mul(1 << doublings).min(LONGEST_WAIT);
    wait.mul_f64(0.75 + chance.clamp(0.0, 1.0) / 2.0)
}

fn later(now: MicroTime, wait: Duration) -> MicroTime {
    SignedDuration::try_from(wait).map_or(now, |wait| now.saturating_add(wait))
}

#[cfg(test)]
mod tests;
