//! Where a file's bytes lie: its chain of clusters, as far as it was followed.

use super::{Geometry, Stop, damaged};
use crate::cache::Cache;

/// Runs that are remembered: a reader that goes back a little (TFTP sends
/// again) and one that goes on both find their place at once.
const RUNS: usize = 4;

/// Clusters of a file that follow each other on the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// The first one's index in the file.
    pub(crate) index: u32,
    /// The first one.
    pub(crate) cluster: u32,
    /// How many they are.
    pub(crate) len: u32,
}

impl Run {
    const fn end(&self) -> u32 {
        self.index + self.len
    }
}

/// The last runs of a chain that somebody came through.
#[derive(Debug, Clone)]
pub(crate) struct Trail {
    first: u32,
    runs: heapless::Vec<Run, RUNS>,
    /// Which run is the next to be forgotten.
    stalest: usize,
}

impl Trail {
    /// A chain that begins with this cluster.
    pub(crate) const fn new(first: u32) -> Self {
        Self {
            first,
            runs: heapless::Vec::new(),
            stalest: 0,
        }
    }

    /// The chain's first cluster.
    pub(crate) const fn first(&self) -> u32 {
        self.first
    }

    /// The cluster with that index in the chain. After [`Stop::Page`] it goes
    /// on where it stopped.
    pub(crate) fn cluster(
        &mut self,
        geometry: &Geometry,
        cache: &mut Cache<'_>,
        index: u32,
    ) -> Result<u32, Stop> {
        let known = |run: &&Run| run.index <= index && index < run.end();
        if let Some(run) = self.runs.iter().find(known) {
            return Ok(run.cluster + (index - run.index));
        }
        let nearest = (0..self.runs.len())
            .filter(|at| self.runs[*at].index <= index)
            .max_by_key(|at| self.runs[*at].index);
        let mut at = match nearest {
            Some(at) => at,
            None if geometry.has(self.first) => self.remember(Run {
                index: 0,
                cluster: self.first,
                len: 1,
            }),
            None => return Err(damaged("a file begins outside of it")),
        };
        loop {
            let run = self.runs[at];
            if index < run.end() {
                return Ok(run.cluster + (index - run.index));
            }
            let last = run.cluster + run.len - 1;
            let Some(next) = geometry.next(cache, last)? else {
                return Err(damaged("a file is longer than its chain of clusters"));
            };
            if next == last + 1 {
                self.runs[at].len += 1;
            } else {
                at = self.remember(Run {
                    index: run.end(),
                    cluster: next,
                    len: 1,
                });
            }
        }
    }

    fn remember(&mut self, run: Run) -> usize {
        if self.runs.push(run).is_ok() {
            return self.runs.len() - 1;
        }
        let at = self.stalest;
        self.runs[at] = run;
        self.stalest = (at + 1) % RUNS;
        at
    }
}
