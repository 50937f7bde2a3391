//! One measurement: prepare the query, ask, and keep what was said.

use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use super::resolver::{place, template};
use super::samples::{Begun, Ended, Sample, Watched, asks, last_breach};
use crate::api::trigger::Metric;
use crate::api::{FeatureRolloutStatus, MetricSource, MicroTime, Reading, Verdict};
use crate::clock;
use crate::controller::cache::ObjectKey;
use crate::controller::context::{Context, Key, Shared};
use crate::controller::queue::Priority;
use crate::engine::{Due, Subject};
use crate::plan::Guard;
use crate::sources::{self, Query, Readings, Request, Resolved};
use crate::watchdog::resting;

/// Most instants of a backfill: what is further back counts as not measured.
const BACKFILLED: i32 = 200;

/// A measurement that is due.
pub struct Measurement {
    key: ObjectKey,
    flag: String,
    due: Due,
    begun: Begun,
    metric: Metric,
    /// Namespace of the template.
    template_namespace: String,
    /// The label that tells the cohorts apart, and the cohorts.
    per_cohort: Option<(String, Vec<String>)>,
    /// The last breaching sample that counts, where there is one.
    breach: Option<MicroTime>,
    /// Says that nobody wants to know any more.
    gone: CancellationToken,
}

impl Measurement {
    /// The measurement of a subject; none where the guard has no such subject.
    pub fn new(
        key: &ObjectKey,
        watched: &Watched,
        status: &FeatureRolloutStatus,
        due: Due,
        begun: Begun,
    ) -> Option<Measurement> {
        let asks = asks(watched.guard(), &due.subject)?;
        let cohorts = || status.cohorts.iter().map(|cohort| cohort.name.clone()).collect();
        Some(Measurement {
            key: key.clone(),
            flag: watched.flag.clone(),
            begun,
            metric: asks.metric.clone(),
            template_namespace: asks.template_namespace.unwrap_or(&key.0).to_owned(),
            per_cohort: asks.label.map(|label| (label.to_owned(), cohorts())),
            breach: last_breach(watched.guard(), status, &due.subject),
            gone: watched.gone.clone(),
            due,
        })
    }
}

/// Something else than a rollout that wants to know a criterion's value.
pub struct Question {
    /// Namespace of whoever asks.
    pub namespace: String,
    /// Its name, which a template may use as that of the rollout and of the flag.
    pub name: String,
    /// Name of the criterion.
    pub criterion: String,
    /// What is measured.
    pub metric: Metric,
    /// When it was due.
    pub at: MicroTime,
    /// When it is due next.
    pub next: MicroTime,
    /// Time between the two.
    pub interval: SignedDuration,
}

/// Asks once, in the limits that hold for rollouts, and says as of when and what was said; `None` where the term ends meanwhile.
pub async fn ask(ctx: &Shared, question: Question) -> Option<(MicroTime, Reading)> {
    let Question { namespace, name, criterion, metric, at, next, interval } = question;
    let check = Measurement {
        template_namespace: namespace.clone(),
        key: (namespace, name.clone()),
        flag: name,
        due: Due { subject: Subject::Criterion(criterion), at, next, interval },
        begun: Begun { ticket: 0, due: at, missed: false, again: false },
        metric,
        per_cohort: None,
        breach: None,
        gone: CancellationToken::new(),
    };
    let (samples, _) = tokio::select! {
        biased;
        () = ctx.shutdown.cancelled() => return None,
        outcome = measure(ctx, &check) => outcome,
    };
    samples.into_iter().next_back().map(|(_, sample)| (sample.at, sample.reading))
}

/// Makes a measurement, and has its rollout decided on with what it said.
pub async fn run(ctx: Shared, check: Measurement) {
    let started = clock::monotonic();
    let _open = Open { ctx: &ctx, check: &check };
    let (samples, ended) = tokio::select! {
        biased;
        () = ctx.shutdown.cancelled() => return,
        () = check.gone.cancelled() => return,
        outcome = measure(&ctx, &check) => outcome,
    };
    ctx.metrics.checks.took(started.elapsed().as_secs_f64());
    let mut watched = ctx.analysis.watched();
    let Some(known) = watched.get_mut(&check.key) else { return };
    let guard = known.guard().clone();
    let newest = samples.last().map(|(_, sample)| sample.at);
    let present: Vec<(Option<String>, Reading)> = samples
        .iter()
        .filter(|(_, sample)| Some(sample.at) == newest)
        .map(|(cohort, sample)| (cohort.clone(), sample.reading.clone()))
        .collect();
    if !known.end(&check.due.subject, check.begun.ticket, ended, samples) {
        return;
    }
    // Before anybody can forget the rollout: what is shown goes with what is watched.
    show(&ctx, &check, &guard, &present);
    let in_breach =
        present.iter().any(|(_, reading)| judge(&guard, &check.due.subject, reading) == Verdict::Breach);
    drop(watched);
    super::decide(&ctx, &check.key, in_breach);
    if ctx.clock.now() >= check.due.next {
        ctx.analysis.look_again(&check.key);
    }
}

/// A measurement under way. One that ends in whatever way does not keep the next from being made.
struct Open<'a> {
    ctx: &'a Context,
    check: &'a Measurement,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if let Some(watched) = self.ctx.analysis.watched().get_mut(&self.check.key) {
            watched.give_up(&self.check.due.subject, self.check.begun.ticket);
        }
    }
}

/// Shows in the metrics what was said.
fn show(ctx: &Context, check: &Measurement, guard: &Guard, present: &[(Option<String>, Reading)]) {
    let verdicts = present.iter().map(|(_, reading)| judge(guard, &check.due.subject, reading));
    // The worst of the cohorts.
    let order = [Verdict::Breach, Verdict::ProviderError, Verdict::NoData, Verdict::Pass];
    if let Some(worst) = verdicts.min_by_key(|verdict| order.iter().position(|known| known == verdict)) {
        ctx.metrics.checks.said(worst);
    }
    if let Subject::Trigger(trigger) = &check.due.subject {
        for (cohort, reading) in present {
            let value = match reading {
                Reading::Value { value, .. } => Some(value.get()),
                Reading::NoData(_) | Reading::Error(_) => None,
            };
            ctx.metrics.checks.value(&check.key, trigger, cohort.as_deref(), value);
        }
    }
}

/// What a reading says of its subject.
fn judge(guard: &Guard, subject: &Subject, reading: &Reading) -> Verdict {
    let value = match reading {
        Reading::Value { value, .. } => *value,
        Reading::NoData(_) => return Verdict::NoData,
        Reading::Error(_) => return Verdict::ProviderError,
    };
    let breach = match subject {
        Subject::Trigger(name) => guard
            .trigger(name)
            .is_some_and(|trigger| trigger.levels.iter().any(|level| level.bound.holds(value))),
        Subject::Criterion(name) => guard
            .criterion(name)
            .and_then(|criterion| criterion.bound.as_ref())
            .is_some_and(|bound| !bound.holds(value)),
    };
    if breach { Verdict::Breach } else { Verdict::Pass }
}

/// What is to be kept, oldest first, and how it ended.
async fn measure(ctx: &Shared, check: &Measurement) -> (Vec<(Option<String>, Sample)>, Ended) {
    let wait = ctx.analysis.pace.wait(&check.key.0, clock::monotonic());
    if !wait.is_zero() {
        resting(clock::sleep(wait)).await;
    }
    let _place = place(ctx, (&check.template_namespace, &check.metric.template_ref.name), &check.key.0).await;
    // Thousands may wait for a place: only what is under way is allocated, while it is.
    Box::pin(measure_now(ctx, check)).await
}

/// The same once it may be asked.
async fn measure_now(ctx: &Shared, check: &Measurement) -> (Vec<(Option<String>, Sample)>, Ended) {
    let (source, query, resolved) = match prepare(ctx, check).await {
        Ok(prepared) => prepared,
        Err(problem) => {
            let readings = everybody(check, problem);
            let ended = Ended { unprepared: true, ..Ended::default() };
            return (samples(check, ctx.clock.now(), check.begun.due, &readings), ended);
        }
    };
    let now = ctx.clock.now();
    if check.begun.again {
        ctx.metrics.checks.asked(now.duration_since(check.due.at).as_secs_f64());
    }
    let at = instant(&check.due, now);
    let mut kept = backfill(ctx, check, &query, &resolved, at).await;
    let request = Request {
        query,
        per_cohort: check.per_cohort.as_ref().map(|(label, _)| label.clone()),
        // Metrics live in real time, however fast a schedule runs.
        at: if ctx.clock.is_real() { at } else { clock::real_now() },
        interval: ctx.clock.in_real_time(check.due.interval),
    };
    let readings = ctx.analysis.sources.measure(&resolved, &request).await;
    note_circuit(ctx, &source, resolved.uid());
    kept.extend(samples(check, at, check.begun.due, &readings));
    let crowded = matches!(readings, Readings::Unasked(_));
    (kept, Ended { crowded, ..Ended::default() })
}

/// The instant that a measurement speaks of: its slot, so that times in breach are whole intervals; the present where
/// the slot is long gone.
fn instant(due: &Due, now: MicroTime) -> MicroTime {
    let late = now.duration_since(due.at);
    if late.saturating_mul(2) <= due.interval { due.at } else { now }
}

async fn prepare(ctx: &Shared, check: &Measurement) -> Result<(MetricSource, Query, Resolved), String> {
    let namespace = &check.key.0;
    let name = &check.metric.template_ref.name;
    let template = template(ctx, &(check.template_namespace.clone(), name.clone()), namespace).await?;
    let source = ctx.metric_sources.readable(&(ctx.namespace.clone(), template.spec.source_ref.name.clone()));
    let context = sources::Context {
        operator_namespace: &ctx.namespace,
        template_namespace: &check.template_namespace,
        namespace,
        rollout: &check.key.1,
        flag: &check.flag,
        interval: ctx.clock.in_real_time(check.due.interval),
    };
    let query = sources::prepare(&context, &template.spec, source.as_ref(), &check.metric.args)
        .map_err(|problems| format!("MetricTemplate {name:?}: {}", problems.join("; ")))?;
    let Some(source) = source else { return Err("the MetricSource is gone".to_owned()) };
    let resolved = ctx.analysis.resolver.resolve(ctx, &source).await.map_err(|unready| {
        // What an admin has to put right is said on the source; a tenant learns no names of Secrets.
        tracing::debug!(problem = unready.message, "a source cannot be asked");
        format!("the MetricSource {:?} is not ready; see its status", template.spec.source_ref.name)
    })?;
    Ok((source, query, resolved))
}

fn everybody(check: &Measurement, problem: String) -> Readings {
    match check.per_cohort {
        Some(_) => Readings::Failed(Reading::Error(problem)),
        None => Readings::Whole(Reading::Error(problem)),
    }
}

/// Readings as what is kept, of every cohort where each is judged by itself.
fn samples(
    check: &Measurement,
    at: MicroTime,
    due: MicroTime,
    readings: &Readings,
) -> Vec<(Option<String>, Sample)> {
    let sample = |cohort: &str| Sample { at, due: due.min(at), reading: readings.of_cohort(cohort) };
    match &check.per_cohort {
        Some((_, cohorts)) => cohorts.iter().map(|cohort| (Some(cohort.clone()), sample(cohort))).collect(),
        None => vec![(None, sample(""))],
    }
}

/// What was measured while this process did not look: it matters where a level was in breach, and counts as if it had
/// been measured then. Missing data neither adds nor resets, and is left out.
async fn backfill(
    ctx: &Context,
    check: &Measurement,
    query: &Query,
    resolved: &Resolved,
    at: MicroTime,
) -> Vec<(Option<String>, Sample)> {
    let Some(instants) =
        check.breach.filter(|_| check.begun.missed).and_then(|last| instants(last, at, check.due.interval))
    else {
        return Vec::new();
    };
    let (Some(first), Some(last)) = (instants.first().copied(), instants.last().copied()) else {
        return Vec::new();
    };
    if !ctx.clock.is_real() || !sources::can_backfill(resolved) {
        return Vec::new();
    }
    let request = Request {
        query: query.clone(),
        per_cohort: check.per_cohort.as_ref().map(|(label, _)| label.clone()),
        at: last,
        interval: check.due.interval,
    };
    match ctx.analysis.sources.backfill(resolved, &request, first, last, check.due.interval).await {
        Ok(answers) => instants
            .into_iter()
            .zip(answers)
            .flat_map(|(at, (_, readings))| samples(check, at, at, &readings))
            .filter(|(_, sample)| matches!(sample.reading, Reading::Value { .. }))
            .collect(),
        Err(why) => {
            let (namespace, name) = &check.key;
            tracing::warn!(
                "what was not measured of FeatureRollout {namespace}/{name} while this process was away cannot be read now: {why}; it does not count"
            );
            Vec::new()
        }
    }
}

/// The slots after the last sample that counts and before `at`, oldest first, the last of them where there are many.
fn instants(last: MicroTime, at: MicroTime, interval: SignedDuration) -> Option<Vec<MicroTime>> {
    let between = at.duration_since(last);
    if interval <= SignedDuration::ZERO || between <= interval {
        return None;
    }
    let count = (between.as_nanos() - 1) / interval.as_nanos();
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    let first = count.saturating_sub(BACKFILLED - 1).max(1);
    (first..=count).map(|i| Some(last.saturating_add(interval.checked_mul(i)?))).collect()
}

/// Tells of a circuit that has opened or closed, or is open for another reason that lasts.
fn note_circuit(ctx: &Context, source: &MetricSource, uid: &str) {
    let name = source.metadata.name.clone().unwrap_or_default();
    ctx.metrics.checks.circuit(&name, ctx.analysis.sources.circuit(uid));
    let shown = super::status::shown_of(ctx, uid);
    let before = {
        let mut circuits = ctx.analysis.circuits.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        circuits.insert(uid.to_owned(), shown).unwrap_or_default()
    };
    if before != shown {
        ctx.queue.push(Key::MetricSource((ctx.namespace.clone(), name)), Priority::Report);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> MicroTime {
        MicroTime::from_second(seconds).unwrap()
    }

    #[test]
    fn the_slots_between_are_backfilled_and_no_more_than_the_last_of_them() {
        let every = SignedDuration::from_secs(10);
        assert_eq!(instants(at(100), at(110), every), None, "nothing was missed");
        assert_eq!(instants(at(100), at(130), every), Some(vec![at(110), at(120)]));
        assert_eq!(instants(at(100), at(131), every), Some(vec![at(110), at(120), at(130)]));
        let many = instants(at(0), at(100_000), every).unwrap();
        assert_eq!((many.len(), many[0], *many.last().unwrap()), (200, at(98_000), at(99_990)));
    }

    #[test]
    fn a_measurement_speaks_of_its_slot_unless_that_is_long_gone() {
        let interval = SignedDuration::from_secs(10);
        let subject = Subject::Trigger("x".to_owned());
        let due = Due { subject, at: at(100), next: at(110), interval };
        assert_eq!(instant(&due, at(100)), at(100));
        assert_eq!(instant(&due, at(105)), at(100));
        assert_eq!(instant(&due, at(106)), at(106));
    }
}
