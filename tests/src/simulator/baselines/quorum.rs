//! Schemes that render tiles several times: quorums of a fixed size, and BOINC's adaptive replication
//! (github.com/BOINC/boinc/wiki/AdaptiveReplication).

use super::{
    Tally,
    crowd::{Answer, Crowd, Number},
};

/// Valid results in a row after which a host is believed alone.
const TRUSTED_STREAK: u64 = 10;
/// Answers for a tile at most; then all are dropped and it begins again.
const ANSWERS_MAX: usize = 9;
/// Times that a tile begins again before the job gives it up.
const TRIES_MAX: usize = 20;

/// How many renders of a tile its first host's record asks for.
pub fn adaptive_count(crowd: &mut Crowd, first: Number) -> usize {
    let streak = crowd.people[first].streak;
    match streak >= TRUSTED_STREAK && crowd.random.below(streak) != 0 {
        true => 1,
        false => 2,
    }
}

/// Does a job whose tiles are rendered as often as `count` says for the first who gets them.
pub fn run(mut crowd: Crowd, count: impl Fn(&mut Crowd, Number) -> usize) -> Tally {
    for tile in 0..crowd.setting.tiles {
        let mut tries = 0..TRIES_MAX;
        let is_done = tries.any(|_| try_tile(&mut crowd, tile, &count));
        crowd.tally.unfinished += u64::from(!is_done);
    }
    crowd.finish()
}

/// Renders a tile; false if its answers never agreed.
fn try_tile(crowd: &mut Crowd, tile: u32, count: &impl Fn(&mut Crowd, Number) -> usize) -> bool {
    let Some(first) = crowd.draw(&[]) else {
        return false;
    };
    let mut holders = vec![first];
    for _ in 1..count(crowd, first) {
        holders.extend(crowd.draw(&holders));
    }
    let ring_alone = holders.iter().all(|holder| crowd.is_of_ring(*holder));
    let mut answers: Vec<(Number, Answer)> = Vec::new();
    for &holder in &holders {
        answers.push((holder, crowd.deliver(holder, tile, ring_alone)));
    }
    loop {
        if let Some(taken) = majority(&answers) {
            settle(crowd, &answers, &taken);
            return true;
        }
        match crowd.draw(&holders) {
            Some(next) if answers.len() < ANSWERS_MAX => {
                holders.push(next);
                answers.push((next, crowd.deliver(next, tile, false)));
            }
            _ => return false,
        }
    }
}

/// What more than half say.
fn majority(answers: &[(Number, Answer)]) -> Option<Answer> {
    let votes = |of: &Answer| answers.iter().filter(|(_, answer)| answer == of).count();
    let mut all = answers.iter().map(|(_, answer)| answer);
    all.find(|answer| votes(answer) * 2 > answers.len())
        .cloned()
}

fn settle(crowd: &mut Crowd, answers: &[(Number, Answer)], taken: &Answer) {
    crowd.tally.bad_accepted += u64::from(taken.is_some());
    for (number, answer) in answers {
        if answer == taken {
            crowd.people[*number].streak += 1;
            crowd.pay(*number, 1.0);
        } else {
            crowd.refuse(*number);
            crowd.ban_if_hostile(*number);
        }
    }
}
