//! How many bytes of copies the hubs have passed on from peer to peer, by the counter that they tell operators.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, LocalRecorderGuard, Metadata, SharedString, Unit};

/// The counter's name.
const RELAYED: &str = "loop_relayed_bytes_total";

/// Counts for as long as it lives, on this thread.
pub struct Meter {
    relayed: Arc<AtomicU64>,
    _listening: LocalRecorderGuard<'static>,
}

impl Meter {
    /// From zero on.
    pub fn start() -> Self {
        let relayed = Arc::<AtomicU64>::default();
        // A guard wants a recorder that outlives it: a run is a process, and this is a few bytes.
        let recorder: &'static Listener = Box::leak(Box::new(Listener(relayed.clone())));
        Self { relayed, _listening: metrics::set_default_local_recorder(recorder) }
    }

    /// Bytes of copies that were passed on.
    pub fn relayed(&self) -> u64 {
        self.relayed.load(Ordering::Relaxed)
    }
}

struct Listener(Arc<AtomicU64>);

impl metrics::Recorder for Listener {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        match key.name() {
            RELAYED => Counter::from_arc(self.0.clone()),
            _ => Counter::noop(),
        }
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hubs_pass_on_is_counted_and_nothing_else() {
        let meter = Meter::start();
        metrics::counter!(RELAYED).increment(7);
        metrics::counter!("loop_tasks_appended_total").increment(1);
        metrics::counter!(RELAYED).increment(5);
        assert_eq!(meter.relayed(), 12);
    }
}
