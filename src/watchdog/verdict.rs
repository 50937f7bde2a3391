//! What is seen of a part of the process, and what that says of it: a value that is given the time.
//!
//! The time here is counted in beats of the watchdog's own heart, and not read from a clock: while the whole process stands
//! still, as one that was stopped or has no processor, its heart does, too, and nobody in it is late.

/// How many beats a part may take without a pause. What takes the longest, a file of a thousand flags, takes a tenth of one.
const LONGEST_TURN: u64 = 60;
/// How many beats a part may go without a turn that has not said that it rests: no call takes longer than ten seconds, and no
/// wait for a next try longer than a minute.
const LONGEST_WAIT: u64 = 150;
/// How many beats a part that fell is looked at as one that may fall again.
const STEADY: u64 = 60;
/// The longest wait, in beats, before what fell is begun again.
const LONGEST_REST: u64 = 60;

/// What a part is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It has run without a pause since this beat: it computes, or blocks a thread.
    Runs(u64),
    /// It waits for what comes by itself, such as an answer or its time-out, since this beat.
    Waits(u64),
    /// It waits for news, which may never come.
    Rests,
}

/// What is seen of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signs {
    /// What it is doing.
    pub doing: Doing,
    /// At which beat it last ended by a fault, if it has.
    pub fell: Option<u64>,
}

/// What that says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does what it should, as far as can be seen.
    Well,
    /// It ended by a fault not long ago. It is begun again.
    Fell,
    /// It has not been heard of for so many beats. Nothing inside of the process can end it.
    Stuck(u64),
}

/// What the signs of a part say at this beat.
pub fn judge(signs: Signs, now: u64) -> Verdict {
    let (since, longest) = match signs.doing {
        Doing::Runs(since) => (since, LONGEST_TURN),
        Doing::Waits(since) => (since, LONGEST_WAIT),
        Doing::Rests => (now, 0),
    };
    let silent = now.saturating_sub(since);
    if silent > longest {
        return Verdict::Stuck(silent);
    }
    match signs.fell {
        Some(at) if now.saturating_sub(at) < STEADY => Verdict::Fell,
        _ => Verdict::Well,
    }
}

/// How many beats a part that fell waits before it is begun again. It has fallen so many times in a row.
pub fn rest(falls: u32) -> u64 {
    1_u64.checked_shl(falls.saturating_sub(1)).unwrap_or(LONGEST_REST).min(LONGEST_REST)
}

/// Whether a part that ran from one beat to another falls for the first time again.
pub fn was_steady(begun: u64, now: u64) -> bool {
    now.saturating_sub(begun) >= STEADY
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::it_has_just_begun(Doing::Waits(1000), None, Verdict::Well)]
    #[case::it_rests_for_as_long_as_there_is_no_news(Doing::Rests, None, Verdict::Well)]
    #[case::it_computes(Doing::Runs(1000 - LONGEST_TURN), None, Verdict::Well)]
    #[case::it_blocks(Doing::Runs(999 - LONGEST_TURN), None, Verdict::Stuck(LONGEST_TURN + 1))]
    #[case::it_waits_for_a_call(Doing::Waits(1000 - LONGEST_WAIT), None, Verdict::Well)]
    #[case::what_it_waits_for_does_not_come(Doing::Waits(999 - LONGEST_WAIT), None, Verdict::Stuck(LONGEST_WAIT + 1))]
    #[case::it_fell(Doing::Waits(1000), Some(1000), Verdict::Fell)]
    #[case::it_may_fall_again(Doing::Rests, Some(1001 - STEADY), Verdict::Fell)]
    #[case::it_has_run_for_a_while_since(Doing::Rests, Some(1000 - STEADY), Verdict::Well)]
    #[case::it_fell_and_is_stuck_now(Doing::Runs(900), Some(990), Verdict::Stuck(100))]
    #[case::its_sign_is_newer_than_the_beat_that_was_read(Doing::Runs(1001), Some(1001), Verdict::Fell)]
    fn the_signs_say(#[case] doing: Doing, #[case] fell: Option<u64>, #[case] expected: Verdict) {
        assert_eq!(judge(Signs { doing, fell }, 1000), expected);
    }

    #[test]
    fn what_falls_again_and_again_is_begun_again_ever_later_up_to_a_minute() {
        let rests: Vec<u64> = (1..9).map(rest).collect();
        assert_eq!(rests, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(rest(u32::MAX), LONGEST_REST);
        assert!(was_steady(10, 10 + STEADY) && !was_steady(10, 9 + STEADY) && !was_steady(10, 3));
    }
}
