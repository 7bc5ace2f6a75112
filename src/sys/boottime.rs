//! CLOCK_BOOTTIME: the one clock that neither stands still while the machine sleeps nor jumps when it is set.

use std::ops::{Add, Sub};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::clock_gettime;
use nix::unistd::read;

use super::readiness::Readiness;

/// An instant of CLOCK_BOOTTIME, meaningful on this machine until it is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootInstant(Duration);

impl BootInstant {
    #[must_use]
    pub fn now() -> Self {
        let since_boot =
            clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).expect("Linux has CLOCK_BOOTTIME since 2.6.39");
        Self(Duration::from(since_boot))
    }

    /// From nanoseconds since boot, as kept in shared memory and files.
    #[must_use]
    pub fn from_nanos(nanos: u64) -> Self {
        Self(Duration::from_nanos(nanos))
    }

    /// Nanoseconds since boot.
    #[must_use]
    pub fn as_nanos(self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Time left until this instant; zero when it has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_sub(Self::now().0)
    }

    #[must_use]
    pub fn has_passed(self) -> bool {
        self <= Self::now()
    }

    #[must_use]
    pub fn saturating_sub(self, earlier_by: Duration) -> Self {
        Self(self.0.saturating_sub(earlier_by))
    }

    /// Time from `earlier` to this instant; zero when it is the other way round.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for BootInstant {
    type Output = Self;

    fn add(self, later_by: Duration) -> Self {
        Self(self.0.saturating_add(later_by))
    }
}

impl Sub<Duration> for BootInstant {
    type Output = Self;

    fn sub(self, earlier_by: Duration) -> Self {
        self.saturating_sub(earlier_by)
    }
}

/// One alarm on CLOCK_BOOTTIME for a process without an event loop: its descriptor becomes readable.
#[derive(Debug)]
pub struct Alarm(TimerFd);

impl Alarm {
    /// # Errors
    /// When the process or the machine has no descriptor left.
    pub fn new() -> nix::Result<Self> {
        TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK).map(Self)
    }

    /// Sets the alarm anew; `None` turns it off.
    pub fn set(&self, instant: Option<BootInstant>) {
        let set = match instant {
            Some(instant) => set_once(&self.0, instant),
            None => self.0.unset(),
        };
        set.expect("a valid time on our own timer is always accepted");
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn set_once(timer: &TimerFd, instant: BootInstant) -> nix::Result<()> {
    // A zero time would disarm the timer; one nanosecond is as good as "long ago". The kernel refuses a time that its
    // signed seconds cannot hold; a hundred years are as good as "never".
    const FAR_AWAY: Duration = Duration::from_secs(100 * 366 * 24 * 3600);
    let at = TimeSpec::from(instant.0.clamp(Duration::from_nanos(1), FAR_AWAY));
    timer.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)
}

/// One alarm on CLOCK_BOOTTIME in the event loop. Tokio's timers and `Instant` stand still while the machine sleeps; this does not.
#[derive(Debug)]
pub struct BootTimer(Readiness<TimerFd>);

impl BootTimer {
    /// # Errors
    /// When the process or the machine has no descriptor left.
    pub fn new() -> std::io::Result<Self> {
        let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
        Readiness::new(timer).map(Self)
    }

    /// Completes at `instant`, at once when it has passed. May be dropped and called again.
    pub async fn sleep_until(&mut self, instant: BootInstant) {
        set_once(self.0.get_ref(), instant).expect("a valid time on our own timer is always accepted");
        while !instant.has_passed() {
            self.0.readable(|timer| timer.wait()).await.ok();
        }
    }
}

/// Tells when somebody sets the wall clock: what a resumed virtual machine does first.
#[derive(Debug)]
pub struct ClockSteps(Readiness<TimerFd>);

impl ClockSteps {
    /// # Errors
    /// When the process or the machine has no descriptor left.
    pub fn watch() -> std::io::Result<Self> {
        let timer = TimerFd::new(ClockId::CLOCK_REALTIME, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
        let steps = Self(Readiness::new(timer)?);
        steps.arm();
        Ok(steps)
    }

    fn arm(&self) {
        let never = TimeSpec::new(i64::MAX / 2, 0);
        let cancelled_by_a_step = TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
        self.0
            .get_ref()
            .set(Expiration::OneShot(never), cancelled_by_a_step)
            .expect("a valid time on our own timer is always accepted");
    }

    /// Completes when the clock has been set.
    pub async fn next(&mut self) {
        // Read by hand: nix's `TimerFd::wait` takes the cancellation for the timer's end, which never comes.
        while self.0.readable(|timer| read(timer, &mut [0; 8])).await != Err(Errno::ECANCELED) {}
        self.arm();
    }
}
