//! The job's money: what is spent, what is set aside for work under way, what is left of the budget.

use protocol::Glm;
use serde::{Deserialize, Serialize};

/// Integer amounts that never exceed the budget.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Ledger {
    budget: Option<Glm>,
    spent: Glm,
    reserved: Glm,
}

impl Ledger {
    pub(crate) fn new(budget: Option<Glm>) -> Self {
        Self {
            budget,
            ..Self::default()
        }
    }

    pub(crate) fn set_budget(&mut self, budget: Option<Glm>) {
        self.budget = budget;
    }

    pub(crate) fn spent(&self) -> Glm {
        self.spent
    }

    pub(crate) fn has_budget(&self) -> bool {
        self.budget.is_some()
    }

    /// Can this much more be set aside?
    pub(crate) fn affords(&self, amount: Glm) -> bool {
        let total = self
            .spent
            .checked_add(self.reserved)
            .and_then(|taken| taken.checked_add(amount));
        total.is_some_and(|total| self.budget.is_none_or(|budget| total <= budget))
    }

    /// Sets an amount aside; false, and nothing changes, when it is not there.
    pub(crate) fn reserve(&mut self, amount: Glm) -> bool {
        let affords = self.affords(amount);
        if affords {
            self.reserved = self.reserved.checked_add(amount).unwrap_or(self.reserved);
        }
        affords
    }

    /// Gives back what was set aside.
    pub(crate) fn release(&mut self, amount: Glm) {
        self.reserved = self.reserved.checked_sub(amount).unwrap_or(Glm::ZERO);
    }

    /// Undoes spending that nobody was paid for.
    pub(crate) fn take_back(&mut self, amount: Glm) {
        self.spent = self.spent.checked_sub(amount).unwrap_or(Glm::ZERO);
    }

    /// Spends what was set aside.
    pub(crate) fn pay(&mut self, amount: Glm) {
        self.release(amount);
        self.spent = self.spent.checked_add(amount).unwrap_or(self.spent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_count_until_released_and_payments_for_good() {
        let wei = Glm::from_wei;
        let mut ledger = Ledger::new(Some(wei(10)));
        assert!(ledger.reserve(wei(6)));
        assert!(!ledger.reserve(wei(5)));
        ledger.release(wei(6));
        assert!(ledger.reserve(wei(10)));
        ledger.pay(wei(10));
        assert!(!ledger.affords(wei(1)));
        assert_eq!(ledger.spent(), wei(10));
    }

    #[test]
    fn without_a_budget_only_overflow_is_refused() {
        let mut ledger = Ledger::new(None);
        assert!(ledger.reserve(Glm::from_wei(u128::MAX)));
        assert!(!ledger.reserve(Glm::from_wei(1)));
    }
}
