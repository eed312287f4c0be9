//! Resources of the tree: measured as rarely as possible, reported when they change, and held to the limits.
//!
//! An idle fleet must cost next to nothing, so a tree that does nothing is looked at every 5 s, and one that a limit
//! without a kernel's help stands for each second.

use crate::procfs;
use crate::runner::Runner;
use crate::tree::Tree;
use myagent_core::instance::ExitCause;
use myagent_core::wire::control::{Report, RunnerEvent, Usage};
use myagent_host::SessionStats;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// Time between ticks when somebody listens, or something may have to be done.
const BUSY_TICK: Duration = Duration::from_secs(1);
/// Time between ticks, and between measurements of an idle tree, otherwise.
const IDLE_TICK: Duration = Duration::from_secs(5);
/// Time between looks at our own memory.
const OWN_MEMORY_EVERY: Duration = Duration::from_secs(30);
/// Less than this, percent of a core, is idle.
const IDLE_CPU: f64 = 1.0;
const MIB: u64 = 1024 * 1024;

/// What was measured and reported last.
#[derive(Debug)]
pub(crate) struct UsageWatch {
    /// Measured last.
    now: Usage,
    /// Reported last.
    told: Usage,
    measured: Option<Instant>,
    own_memory: Option<Instant>,
    next_tick: Instant,
    /// Deaths for want of memory that are dealt with.
    oom_kills: u64,
    /// The tree was killed for its memory; its main process has not been seen to end yet.
    oom: bool,
    soft_limit_told: bool,
    /// Told last about the worker's event loop.
    responsive: bool,
}

impl UsageWatch {
    pub(crate) fn new() -> Self {
        Self {
            now: Usage::default(),
            told: Usage::default(),
            measured: None,
            own_memory: None,
            next_tick: Instant::now() + BUSY_TICK,
            oom_kills: 0,
            oom: false,
            soft_limit_told: false,
            responsive: true,
        }
    }

    /// When the next [`crate::event::Event::Tick`] is due.
    pub(crate) fn next_tick(&self) -> Instant {
        self.next_tick
    }

    /// Somebody came who wants to know.
    pub(crate) fn look_soon(&mut self) {
        self.next_tick = self.next_tick.min(Instant::now() + BUSY_TICK);
        self.measured = None;
        self.own_memory = None;
    }

    /// Whether the tree that just ended was killed for its memory; asked once for each end.
    pub(crate) fn take_oom(&mut self, tree: &Tree) -> bool {
        let kills = tree.oom_kills();
        let by_kernel = kills > std::mem::replace(&mut self.oom_kills, kills);
        std::mem::take(&mut self.oom) || by_kernel
    }

    fn differs_noticeably(&self) -> bool {
        let (now, told) = (&self.now, &self.told);
        let memory = now.memory_bytes.abs_diff(told.memory_bytes);
        now.processes != told.processes
            || memory > MIB.max(told.memory_bytes / 20)
            || (now.cpu_percent - told.cpu_percent).abs() > 1.0
            || now.runner_private_bytes.abs_diff(told.runner_private_bytes) > MIB / 4
    }
}

impl Runner {
    /// Once a second, or when nobody looks each 5 s.
    pub(crate) fn tick(&mut self) {
        self.table.tick();
        let listened_to = !self.clients.is_empty();
        let responsive = self.backend.borrow().is_responsive();
        if std::mem::replace(&mut self.usage.responsive, responsive) != responsive {
            self.tell_status();
        }
        if let Some(tree) = self.tree.clone() {
            self.measure(&tree, listened_to);
        }
        let counted = self.sessions.as_ref().is_some_and(SessionStats::changed);
        if self.table.changed() || counted || self.usage.differs_noticeably() {
            self.tell_report();
        }
        let busy = listened_to || self.table.open_count() > 0 || self.must_watch_memory();
        self.usage.next_tick = Instant::now() + if busy { BUSY_TICK } else { IDLE_TICK };
    }

    /// Tells everyone what has changed since the last report, in as many reports as that takes.
    pub(crate) fn tell_report(&mut self) {
        while !self.clients.is_empty() {
            let report = self.report(false);
            self.clients.broadcast(RunnerEvent::Report(Box::new(report)));
            if !self.table.has_more() {
                return;
            }
        }
    }

    /// Connections, counters and resources.
    pub(crate) fn report(&mut self, full: bool) -> Report {
        if full {
            self.measure_own_memory();
        }
        let mut report = self.table.report(full);
        report.totals.log_lines_dropped = self.logs.dropped();
        if let Some(sessions) = &self.sessions {
            report.detached_sessions = sessions.detached();
            report.session_totals = Some(Box::new(sessions.snapshot()));
        }
        report.usage = self.usage.now;
        self.usage.told = self.usage.now;
        report
    }

    fn limit_bytes(&self) -> Option<u64> {
        self.spec.config.memory_limit_mb.map(|limit| limit.saturating_mul(MIB))
    }

    fn must_watch_memory(&self) -> bool {
        self.tree.is_some() && self.limit_bytes().is_some() && self.agent_pid.is_some()
    }

    fn measure(&mut self, tree: &Rc<Tree>, listened_to: bool) {
        self.check_kernel_kills(tree);
        let active = self.usage.now.cpu_percent >= IDLE_CPU && listened_to;
        let due = self.usage.measured.is_none_or(|measured| measured.elapsed() + BUSY_TICK / 2 >= IDLE_TICK);
        if !(due || active || self.must_watch_memory()) {
            return;
        }
        if self.agent_pid.is_none() && self.usage.now.processes == 0 {
            return;
        }
        self.usage.measured = Some(Instant::now());
        let measured = tree.measure();
        self.usage.now.memory_bytes = measured.memory_bytes;
        self.usage.now.cpu_percent = measured.cpu_percent;
        self.usage.now.processes = measured.processes;
        if self.usage.own_memory.is_none_or(|measured| measured.elapsed() >= OWN_MEMORY_EVERY) {
            self.measure_own_memory();
        }
        if let Some(limit) = self.limit_bytes() {
            self.hold_to_memory_limit(tree, limit);
        }
    }

    fn measure_own_memory(&mut self) {
        self.usage.own_memory = Some(Instant::now());
        self.usage.now.runner_private_bytes = procfs::own_private_bytes().unwrap_or(0);
    }

    /// The kernel kills one process for want of memory; the limit is of the tree, so the others go as well.
    fn check_kernel_kills(&mut self, tree: &Tree) {
        if self.limit_bytes().is_none() || self.agent_pid.is_none() {
            return;
        }
        let kills = tree.oom_kills();
        if kills > self.usage.oom_kills {
            self.usage.oom_kills = kills;
            self.usage.oom = true;
            tree.kill_once();
        }
    }

    fn hold_to_memory_limit(&mut self, tree: &Tree, limit: u64) {
        let used = self.usage.now.memory_bytes;
        let soft = limit / 5 * 4;
        if used <= soft {
            // Some room before it is told again, or a tree at the limit would be told of all day.
            self.usage.soft_limit_told &= used > limit / 10 * 7;
            return;
        }
        // Shared pages were counted for each process that has them; before anything is done they are counted once.
        let used = tree.proportional_bytes();
        if used > soft && !self.usage.soft_limit_told {
            self.usage.soft_limit_told = true;
            let message =
                format!("the process tree uses {} of its {} MiB (memory_limit_mb)", used / MIB, limit / MIB);
            self.notice("soft_memory_limit", &message);
        }
        if used > limit && !tree.kernel_limits().0 && self.agent_pid.is_some() {
            self.usage.oom = true;
            tree.kill_once();
        }
    }

    /// What ended the main process: for want of memory, or what the kernel says.
    pub(crate) fn cause_of_end(&mut self, ended: crate::reap::How) -> ExitCause {
        let oom = self.tree.clone().is_some_and(|tree| self.usage.take_oom(&tree));
        match self.spec.config.memory_limit_mb {
            Some(limit_mb) if oom => ExitCause::Oom { limit_mb },
            _ => ended.into(),
        }
    }
}
