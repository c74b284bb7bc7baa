//! Keys of a key server: kept while they are good, fetched once when they are not at hand,
//! however many requests and workers want them.

use super::askers::Askers;
use super::clients::Clients;
use super::shared::{Published, SharedKeys, Standing};
use super::{Fetch, FetchId, Source};
use crate::events::{Events, count_one};
use crate::sealed::Sealed;
use jwt_core::fetch_budget::{FetchBudget, Ticket};
use jwt_core::key::KeyName;
use jwt_core::key_cache::{KeyCache, Lookup};
use jwt_core::machine::KeyAnswer;
use jwt_core::refusal::KeyProblem;
use jwt_core::registry::{Fetched, Response};
use jwt_core::seal::Key as HashKey;
use jwt_core::time::Timestamp;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// Keys a worker keeps parsed, and refusals it remembers.
const CACHE_CAPACITY: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// How much longer than its timeout a request keeps other workers from making it too.
const LEASE_SLACK: Duration = Duration::from_secs(1);

/// The keys of one key server on one worker.
pub struct RemoteKeys {
    source: Source,
    cache: KeyCache,
    shared: SharedKeys,
    /// What bounds the requests for keys never had before. Those that are brought do not count, so
    /// it bounds what a stranger with invented key ids can make the key server do, and how many
    /// names wait for one set.
    budget: FetchBudget,
    askers: Askers,
    events: Rc<Events>,
    /// Fetches asked for and not yet begun.
    to_begin: Vec<Fetch>,
    /// Every fetch asked for, with what is wanted of it.
    wanted: HashMap<FetchId, Vec<Wanted>>,
    /// Fetches that another worker makes.
    elsewhere: Vec<Fetch>,
}

/// Random numbers, others for each worker.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chance {
    /// By it this worker's times differ from those of others.
    pub seed: u64,
    /// The key of the hash of what workers share, unless one has chosen it before.
    pub hash_key: HashKey,
}

struct Wanted {
    name: KeyName,
    /// What it has taken from the budget.
    ticket: Option<Ticket>,
}

impl RemoteKeys {
    /// None of the keys is here yet.
    pub fn new(
        source: Source,
        shared: Sealed,
        clients: Box<dyn Clients>,
        events: Rc<Events>,
        chance: Chance,
    ) -> Self {
        let Chance { seed, hash_key } = chance;
        Self {
            cache: KeyCache::new(CACHE_CAPACITY, source.stale_if_error(), seed),
            shared: SharedKeys::new(shared, &source, hash_key),
            budget: FetchBudget::default(),
            askers: Askers::new(clients, seed),
            source,
            events,
            to_begin: Vec::new(),
            wanted: HashMap::new(),
            elsewhere: Vec::new(),
        }
    }

    pub(super) fn key(&mut self, name: &KeyName, now: Timestamp) -> Poll<KeyAnswer> {
        match self.look_up(name, now) {
            Lookup::Fresh(answer) => self.at_hand(answer),
            Lookup::RefreshAhead(answer) => {
                self.ask_again(name);
                self.at_hand(answer)
            }
            Lookup::Stale(answer) => {
                count_one(&self.events.stale_keys);
                self.at_hand(answer)
            }
            Lookup::StaleRetry(answer) => {
                count_one(&self.events.stale_keys);
                self.ask_again(name);
                self.at_hand(answer)
            }
            Lookup::Unknown => self.not_at_hand(name, now),
        }
    }

    fn at_hand(&self, answer: KeyAnswer) -> Poll<KeyAnswer> {
        count_one(&self.events.key_hits);
        Poll::Ready(answer)
    }

    fn not_at_hand(&mut self, name: &KeyName, now: Timestamp) -> Poll<KeyAnswer> {
        count_one(&self.events.key_misses);
        let Some(fetch) = self.source.fetch_of(name) else {
            return Poll::Ready(Err(KeyProblem::Unknown));
        };
        if self.wants(name, &fetch.id) {
            return Poll::Pending;
        }
        let mut ticket = None;
        if !self.cache.had(name) {
            let asker = self.askers.asker(name.issuer(), &self.shared, now);
            ticket = self.budget.take(asker, now);
            if ticket.is_none() {
                count_one(&self.events.limited_fetches);
                return Poll::Ready(Err(KeyProblem::Unavailable));
            }
        }
        self.ask_for(name, fetch, ticket);
        Poll::Pending
    }

    /// What is known of a key here, and, where that will not do for long, at the other workers.
    fn look_up(&mut self, name: &KeyName, now: Timestamp) -> Lookup {
        match self.cache.get(name, now) {
            fresh @ Lookup::Fresh(_) => fresh,
            _ => {
                self.learn(name, now);
                self.cache.get(name, now)
            }
        }
    }

    /// Takes over what another worker has published, unless this one knows as much. A refusal
    /// ends the use of a key here too, at whatever time this worker hears of it; that another one
    /// could not ask does not. A key serves past its time only where the workers have noted that
    /// the last word on it was good: a note that is lost or damaged is no such word.
    fn learn(&mut self, name: &KeyName, now: Timestamp) {
        let Published { standing, record } = self.shared.published(name, now);
        match standing {
            Standing::Good => {}
            Standing::Refused => self.cache.remove(name),
            Standing::Unknown => self.cache.end_at_its_time(name),
        }
        let Some((answer, left)) = record.and_then(|record| record.answer(now)) else {
            return;
        };
        if standing == Standing::Refused && answer.is_ok() {
            return;
        }
        // It may be what this worker has published itself.
        let known_until = match answer {
            Ok(_) => self.cache.expires(name),
            Err(KeyProblem::Unavailable) => self.cache.left_alone_until(name),
            Err(_) => None,
        };
        if known_until.is_none_or(|until| until < now + left) {
            self.cache.put(name, &answer, left, now);
            if standing == Standing::Unknown {
                self.cache.end_at_its_time(name);
            }
        }
    }

    /// An answer that needs no fetch any more: another worker has published it, or a request that
    /// came later has found it published.
    fn settled(&mut self, name: &KeyName, now: Timestamp) -> Option<KeyAnswer> {
        match self.look_up(name, now) {
            Lookup::Fresh(answer) => Some(answer),
            Lookup::Stale(answer) => {
                count_one(&self.events.stale_keys);
                Some(answer)
            }
            Lookup::RefreshAhead(_) | Lookup::StaleRetry(_) | Lookup::Unknown => None,
        }
    }

    fn is_settled(&mut self, id: &FetchId, now: Timestamp) -> bool {
        let wanted = self.wanted.get(id).into_iter().flatten();
        let names: Vec<_> = wanted.map(|it| it.name.clone()).collect();
        names.iter().all(|name| self.settled(name, now).is_some())
    }

    fn wants(&self, name: &KeyName, id: &FetchId) -> bool {
        self.wanted
            .get(id)
            .is_some_and(|wanted| wanted.iter().any(|it| it.name == *name))
    }

    /// Asks for a key that is at hand.
    fn ask_again(&mut self, name: &KeyName) {
        if let Some(fetch) = self.source.fetch_of(name) {
            self.ask_for(name, fetch, None);
        }
    }

    fn ask_for(&mut self, name: &KeyName, fetch: Fetch, ticket: Option<Ticket>) {
        if self.wants(name, &fetch.id) {
            return;
        }
        let wanted = Wanted {
            name: name.clone(),
            ticket,
        };
        match self.wanted.get_mut(&fetch.id) {
            Some(others) => others.push(wanted),
            None => {
                self.wanted.insert(fetch.id.clone(), vec![wanted]);
                self.to_begin.push(fetch);
            }
        }
    }

    /// A token of this issuer, in the request that is being decided, was verified.
    pub fn accepted(&mut self, issuer: &str, now: Timestamp) {
        self.askers.accepted(issuer, &self.shared, now);
    }

    /// Whether there is something to do: to begin a fetch, or to look for another worker's.
    pub fn has_work(&self) -> bool {
        !self.to_begin.is_empty() || !self.elsewhere.is_empty()
    }

    /// The fetches to begin now. Each is handed out once until its answer is recorded, and only
    /// to one of the workers.
    pub fn begin_fetches(&mut self, now: Timestamp) -> Vec<Fetch> {
        let mut begin = Vec::new();
        for fetch in std::mem::take(&mut self.to_begin) {
            let until = now + fetch.endpoint.timeout + LEASE_SLACK;
            if !self.shared.lease(&fetch.id, now, until) {
                self.elsewhere.push(fetch);
            } else if self.is_settled(&fetch.id, now) {
                // Another worker was done just before.
                self.shared.release(&fetch.id);
                self.elsewhere.push(fetch);
            } else {
                begin.push(fetch);
            }
        }
        begin
    }

    /// The answers to fetches that other workers made. A fetch that ended without one is made
    /// here after all.
    pub fn collect_from_others(&mut self, now: Timestamp) -> Vec<(KeyName, KeyAnswer)> {
        let mut answers = Vec::new();
        for fetch in std::mem::take(&mut self.elsewhere) {
            let mut unknown = Vec::new();
            for wanted in self.wanted.remove(&fetch.id).unwrap_or_default() {
                match self.settled(&wanted.name, now) {
                    Some(answer) => answers.push((self.finish(wanted, now), answer)),
                    None => unknown.push(wanted),
                }
            }
            if unknown.is_empty() {
                continue;
            }
            self.wanted.insert(fetch.id.clone(), unknown);
            if self.shared.is_leased(&fetch.id, now) {
                self.elsewhere.push(fetch);
            } else {
                self.to_begin.push(fetch);
            }
        }
        answers
    }

    /// Records the answer to a fetch, or why there is none; gives what it says of each key.
    pub fn record(
        &mut self,
        id: &FetchId,
        response: Result<Response<'_>, String>,
        now: Timestamp,
    ) -> Vec<(KeyName, Fetched)> {
        let wanted = self.wanted.remove(id).unwrap_or_default();
        let names: Vec<_> = wanted.iter().map(|it| it.name.clone()).collect();
        let had = match id {
            FetchId::Key(_) => Vec::new(),
            FetchId::Set(issuer) => self.cache.names_of(issuer),
        };
        let mut answers = self.source.read(id, response, &names, &had);
        let is_word = |it: &Fetched| !matches!(it.answer, Err(KeyProblem::Unavailable));
        let has_come = answers.iter().any(|(_, fetched)| is_word(fetched));
        for (name, fetched) in &mut answers {
            self.keep(name, fetched, now);
        }
        if let (FetchId::Set(issuer), true) = (id, has_come) {
            self.shared.note_set(issuer, now);
        }
        self.shared.release(id);
        for wanted in wanted {
            self.finish(wanted, now);
        }
        answers
    }

    /// There is an answer, whoever has fetched it. A key that it has brought does not count.
    fn finish(&mut self, Wanted { name, ticket }: Wanted, now: Timestamp) -> KeyName {
        if let Some(ticket) = ticket.filter(|_| self.cache.had(&name)) {
            self.budget.give_back(ticket, now);
        }
        name
    }

    /// Keeps an answer and publishes it. Where the key server is down and a key is at hand that
    /// may still serve, that key becomes the answer.
    fn keep(&mut self, name: &KeyName, fetched: &mut Fetched, now: Timestamp) {
        if !matches!(fetched.answer, Err(KeyProblem::Unavailable)) {
            self.cache.put(name, &fetched.answer, fetched.lifetime, now);
            self.shared
                .publish(name, &fetched.answer, fetched.lifetime, now);
            return;
        }
        // Another worker may have been told that the key is no more.
        self.learn(name, now);
        fetched.lifetime = self.cache.put_failure(name, fetched.lifetime, now);
        match self.cache.get(name, now) {
            Lookup::Stale(answer) => {
                count_one(&self.events.stale_keys);
                fetched.answer = answer;
            }
            Lookup::Fresh(answer) if answer.is_ok() => fetched.answer = answer,
            _ => self
                .shared
                .publish(name, &fetched.answer, fetched.lifetime, now),
        }
    }
}
