//! The open descriptions of this process, one for each contender. Breaks when a granted one is closed or handed to a
//! second contender.

use std::cell::{Cell, OnceCell, RefCell};

use crate::lock::{LockKey, OwnerToken};

/// Descriptions that were granted a lock, kept open until the backend goes: a lock is given up by unlocking, never by
/// closing, and the next acquisition of the same key uses the same description again.
///
/// A list that only grows, so that a descriptor can be lent out for as long as the backend lives.
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

/// The right to contend with a description; dropped before [`keep`](Self::keep), `undo` takes back whatever was locked.
#[derive(Debug)]
pub(super) struct Turn<'a, F, U: Fn(&F)> {
    contenders: &'a Contenders<F>,
    key: &'a LockKey,
    token: &'a OwnerToken,
    description: Option<Description<'a, F>>,
    undo: U,
}

#[derive(Debug)]
enum Description<'a, F> {
    Kept(&'a Contender<F>),
    New(F),
}

impl<F> Contenders<F> {
    pub(super) fn new() -> Self {
        Self { first: OnceCell::new() }
    }

    /// Begins to contend, with a description of `key` that nobody uses or one that `open` opens.
    pub(super) fn enter<'a, E, U: Fn(&F)>(
        &'a self,
        key: &'a LockKey,
        token: &'a OwnerToken,
        open: impl FnOnce() -> Result<F, E>,
        undo: U,
    ) -> Result<Turn<'a, F, U>, E> {
        let idle = self.iter().find(|one| one.key == *key && one.stage.get() == Stage::Idle);
        let description = match idle {
            Some(contender) => {
                contender.stage.set(Stage::Contending);
                Description::Kept(contender)
            }
            None => Description::New(open()?),
        };
        Ok(Turn { contenders: self, key, token, description: Some(description), undo })
    }

    /// The one that `token` was granted `key` with.
    pub(super) fn granted(&self, key: &LockKey, token: &OwnerToken) -> Option<&Contender<F>> {
        self.iter().find(|one| {
            one.stage.get() == Stage::Granted && one.key == *key && one.user.borrow().as_ref() == Some(token)
        })
    }

    /// All that hold a lock.
    pub(super) fn all_granted(&self) -> impl Iterator<Item = &Contender<F>> {
        self.iter().filter(|one| one.stage.get() == Stage::Granted)
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
                stage: Cell::new(Stage::Contending),
                next: OnceCell::new(),
            })
        })
    }

    fn iter(&self) -> impl Iterator<Item = &Contender<F>> {
        std::iter::successors(self.first.get(), |contender| contender.next.get()).map(|contender| &**contender)
    }
}

impl<F> Contender<F> {
    /// Ends a grant: whatever was locked is unlocked by now.
    pub(super) fn leave(&self) {
        self.stage.set(Stage::Idle);
        self.user.borrow_mut().take();
    }
}

impl<F, U: Fn(&F)> Turn<'_, F, U> {
    pub(super) fn file(&self) -> &F {
        match self.description.as_ref().expect("only taken by what consumes the turn") {
            Description::Kept(contender) => &contender.file,
            Description::New(file) => file,
        }
    }

    /// The lock is granted and stays until it is released.
    pub(super) fn keep(mut self) {
        let contender = match self.description.take() {
            Some(Description::Kept(contender)) => contender,
            Some(Description::New(file)) => self.contenders.append(self.key, file),
            None => return,
        };
        *contender.user.borrow_mut() = Some(self.token.clone());
        contender.stage.set(Stage::Granted);
    }

    /// The description is of no use any more.
    pub(super) fn retire(mut self) {
        (self.undo)(self.file());
        if let Some(Description::Kept(contender)) = self.description.take() {
            contender.stage.set(Stage::Retired);
        }
    }
}

impl<F, U: Fn(&F)> Drop for Turn<'_, F, U> {
    fn drop(&mut self) {
        let Some(description) = &self.description else { return };
        match description {
            Description::Kept(contender) => {
                (self.undo)(&contender.file);
                contender.leave();
            }
            Description::New(file) => (self.undo)(file),
        }
    }
}
