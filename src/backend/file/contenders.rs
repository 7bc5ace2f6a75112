//! The open descriptions of this process, one for each contender. Breaks when a granted one is closed or handed to a
//! second contender.

use std::cell::RefCell;
use std::cell::{Cell, OnceCell};

use crate::lock::{LockKey, OwnerToken};

/// Descriptions, kept open until the backend goes: a lock is given up by unlocking, never by closing, and the next
/// acquisition of the same key uses the same description again.
///
/// A list that only grows, so that a descriptor can be lent out without a lock.
#[derive(Debug)]
pub(super) struct Contenders<F> {
    first: OnceCell<Box<Contender<F>>>,
}

/// One description, and who uses it.
#[derive(Debug)]
pub(super) struct Contender<F> {
    key: LockKey,
    pub(super) file: F,
    user: RefCell<Option<OwnerToken>>,
    stage: Cell<Stage>,
    next: OnceCell<Box<Self>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle,
    Contending,
    Granted,
    /// Its file is not the one that has the name now.
    Retired,
}

/// The right to use a description; dropped before [`keep`](Self::keep), `undo` takes back whatever was locked.
#[derive(Debug)]
pub(super) struct Turn<'a, F, U: Fn(&F)> {
    contender: &'a Contender<F>,
    undo: U,
}

impl<F> Contenders<F> {
    pub(super) fn new() -> Self {
        Self { first: OnceCell::new() }
    }

    /// A description of `key` that nobody uses, opened with `open` when there is none.
    pub(super) fn enter<E>(
        &self,
        key: &LockKey,
        token: &OwnerToken,
        open: impl FnOnce() -> Result<F, E>,
    ) -> Result<&Contender<F>, E> {
        let idle = self.iter().find(|one| one.key == *key && one.stage.get() == Stage::Idle);
        let contender = match idle {
            Some(contender) => contender,
            None => self.append(key, open()?),
        };
        contender.stage.set(Stage::Contending);
        *contender.user.borrow_mut() = Some(token.clone());
        Ok(contender)
    }

    /// The one that `token` was granted `key` with.
    pub(super) fn granted(&self, key: &LockKey, token: &OwnerToken) -> Option<&Contender<F>> {
        self.iter().find(|one| {
            one.stage.get() == Stage::Granted && one.key == *key && one.user.borrow().as_ref() == Some(token)
        })
    }

    /// Any that holds a lock.
    pub(super) fn any_granted(&self) -> Option<&Contender<F>> {
        self.iter().find(|one| one.stage.get() == Stage::Granted)
    }

    fn append(&self, key: &LockKey, file: F) -> &Contender<F> {
        let mut end = &self.first;
        while let Some(contender) = end.get() {
            end = &contender.next;
        }
        end.get_or_init(|| {
            Box::new(Contender {
                key: key.clone(),
                file,
                user: RefCell::new(None),
                stage: Cell::new(Stage::Idle),
                next: OnceCell::new(),
            })
        })
    }

    fn iter(&self) -> impl Iterator<Item = &Contender<F>> {
        std::iter::successors(self.first.get(), |contender| contender.next.get()).map(|contender| &**contender)
    }
}

impl<F> Contender<F> {
    /// Begins to contend.
    pub(super) fn turn<U: Fn(&F)>(&self, undo: U) -> Turn<'_, F, U> {
        Turn { contender: self, undo }
    }

    /// Ends a grant: whatever was locked is unlocked by now.
    pub(super) fn leave(&self) {
        self.stage.set(Stage::Idle);
        self.user.borrow_mut().take();
    }
}

impl<F, U: Fn(&F)> Turn<'_, F, U> {
    /// The lock is granted and stays until it is released.
    pub(super) fn keep(self) {
        self.contender.stage.set(Stage::Granted);
    }

    /// The description is of no use any more.
    pub(super) fn retire(self) {
        self.contender.stage.set(Stage::Retired);
    }
}

impl<F, U: Fn(&F)> Drop for Turn<'_, F, U> {
    fn drop(&mut self) {
        match self.contender.stage.get() {
            Stage::Granted => {}
            stage => {
                (self.undo)(&self.contender.file);
                self.contender.leave();
                if stage == Stage::Retired {
                    self.contender.stage.set(Stage::Retired);
                }
            }
        }
    }
}
