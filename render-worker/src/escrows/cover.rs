//! Whether an escrow covers work, and whether its end may be agreed to: rules without a chain or a clock.

use super::accounts::Account;
use payment::Escrow;
use protocol::Glm;

/// The last epoch between a requestor and this worker, with its escrow; none before the first.
pub type Present = Option<(u64, Escrow)>;

/// The escrow that work may be done on.
fn usable(present: Present, account: &Account) -> Result<(u64, Escrow), String> {
    let (epoch, escrow) =
        present.ok_or("there is no escrow for this worker: open one before you lease")?;
    if let Some(agreed) = account.agreed.filter(|agreed| epoch <= *agreed) {
        return Err(format!(
            "this worker has agreed to the end of escrow {agreed}: open the next one"
        ));
    }
    match refusal_of(&escrow) {
        Some(reason) => Err(reason.into()),
        None => Ok((epoch, escrow)),
    }
}

/// Why nothing more is done on an escrow, if so.
pub fn refusal_of(escrow: &Escrow) -> Option<&'static str> {
    match escrow {
        Escrow { released: true, .. } => Some("the escrow is closed: open the next one"),
        Escrow {
            withdrawable_at: Some(_),
            ..
        } => Some("the withdrawal of the escrow is announced"),
        _ => None,
    }
}

/// Does the present escrow cover what is promised, what was accepted since, and what is under way with new tasks?
pub fn check_cover(present: Present, account: &Account, in_flight: Glm) -> Result<(), String> {
    let (epoch, escrow) = usable(present, account)?;
    let needed = [account.promised_in(epoch), account.unpaid, in_flight]
        .into_iter()
        .sum::<Glm>();
    match needed.checked_sub(escrow.deposit) {
        None | Some(Glm::ZERO) => Ok(()),
        Some(missing) => Err(format!(
            "escrow {epoch} holds {} GLM, {needed} GLM are promised and under way with these tasks: add {missing} GLM",
            escrow.deposit
        )),
    }
}

/// May an escrow end with `cumulative`, as far as the chain knows? Its withdrawal may be announced.
pub fn check_end(present: Present, epoch: u64, cumulative: Glm) -> Result<(), String> {
    match present {
        Some((last, _)) if last != epoch => {
            Err(format!("escrow {epoch} is not the present one, {last} is"))
        }
        Some((_, escrow)) if escrow.released => Err(format!("escrow {epoch} is closed")),
        Some((_, escrow)) if escrow.deposit < cumulative => Err(format!(
            "escrow {epoch} holds {} GLM, less than {cumulative} GLM: top it up first",
            escrow.deposit
        )),
        Some(_) => Ok(()),
        None => Err("there is no escrow for this worker".into()),
    }
}

/// Is `cumulative` all that is owed in an epoch?
pub fn check_owed(account: &Account, epoch: u64, cumulative: Glm) -> Result<(), String> {
    let owed: Glm = [account.promised_in(epoch), account.unpaid]
        .into_iter()
        .sum();
    match cumulative >= owed {
        true => Ok(()),
        false => Err(format!(
            "{owed} GLM are owed in escrow {epoch}, not {cumulative} GLM"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glm(amount: u64) -> Glm {
        Glm::from_glm(amount)
    }

    fn escrow(deposit: u64) -> Escrow {
        Escrow {
            deposit: glm(deposit),
            claimed: glm(1),
            released: false,
            withdrawable_at: None,
        }
    }

    fn account() -> Account {
        Account {
            epoch: 3,
            promised: glm(4),
            unpaid: glm(2),
            agreed: None,
        }
    }

    #[test]
    fn what_is_promised_accepted_and_under_way_has_to_be_covered() {
        let covers = |deposit, in_flight| {
            check_cover(Some((3, escrow(deposit))), &account(), glm(in_flight))
        };
        assert_eq!(covers(10, 4), Ok(()));
        let refused = covers(10, 5).unwrap_err();
        assert!(refused.ends_with("add 1 GLM"), "{refused}");
        // What was paid out stays part of the deposit, as it is part of what was promised.
        let paid = Escrow {
            claimed: glm(4),
            ..escrow(10)
        };
        assert_eq!(check_cover(Some((3, paid)), &account(), glm(4)), Ok(()));
        // Another epoch's promises do not burden this one.
        assert_eq!(
            check_cover(Some((4, escrow(10))), &account(), glm(8)),
            Ok(())
        );
        assert!(check_cover(Some((4, escrow(10))), &account(), glm(9)).is_err());
        let most = Glm::from_wei(u128::MAX);
        assert!(check_cover(Some((3, escrow(10))), &account(), most).is_err());
        assert!(check_cover(None, &account(), Glm::ZERO).is_err());
    }

    #[test]
    fn nothing_is_done_in_an_escrow_that_ends() {
        let agreed = Account {
            agreed: Some(3),
            ..account()
        };
        let covers =
            |epoch, escrow, account: &Account| check_cover(Some((epoch, escrow)), account, glm(0));
        assert!(covers(3, escrow(10), &agreed).is_err());
        assert_eq!(covers(4, escrow(10), &agreed), Ok(()));
        let thawing = Escrow {
            withdrawable_at: Some(5),
            ..escrow(10)
        };
        let closed = Escrow {
            released: true,
            ..escrow(10)
        };
        for over in [thawing, closed] {
            assert!(covers(3, over, &account()).is_err());
        }
    }

    #[test]
    fn an_end_is_agreed_to_for_the_present_escrow_and_all_that_is_owed() {
        let present = Some((3, escrow(10)));
        assert_eq!(check_end(present, 3, glm(10)), Ok(()));
        assert!(check_end(present, 2, glm(6)).is_err());
        assert!(check_end(present, 4, glm(6)).is_err());
        assert!(check_end(present, 3, glm(11)).is_err());
        assert!(check_end(None, 0, glm(0)).is_err());
        let closed = Escrow {
            released: true,
            ..escrow(10)
        };
        assert!(check_end(Some((3, closed)), 3, glm(6)).is_err());
        assert_eq!(check_owed(&account(), 3, glm(6)), Ok(()));
        assert!(check_owed(&account(), 3, glm(5)).is_err());
        assert_eq!(check_owed(&account(), 4, glm(2)), Ok(()));
    }
}
