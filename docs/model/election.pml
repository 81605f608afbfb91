/*
 * The election: the control blob cluster/leader with its lease, the epoch that is claimed in its metadata, and nodes
 * that look, break, claim, acquire, confirm, lead and step down; over a storage that carries requests out late, twice
 * or never.
 *
 * A lease can run out, and a leader can find that it did, at any moment; nothing here rests on a clock (lease.pml does).
 *
 * Abstractions:
 * - As in log.pml: an answered request is one step; one whose answer is lost, or that is carried out twice, goes to
 *   `late`; a version is a bit with whoever knows it.
 * - A lease's id is the epoch that its holder claimed when it stood, and the node: new each time it stands.
 * - Evidence is an oracle: against a crashed node always, against a living one SUSPICIONS times. Waiting (poll,
 *   back-off, quiet time) is waiting until something changes.
 * - claimAbove, for a control blob that was lost and begun again, is left out.
 *
 * Promises, as assertions:
 * - each claim's epoch is above all before it; a node leads under the epoch of its own last claim, and once only.
 * - a break hits no lease that is younger than what its evidence was about: so candidates do not depose each other.
 * - whatever happened, when nothing is left to go wrong there is one leader, the blob names it and its epoch, and
 *   there were at most EPOCHS_MAX claims.
 *
 * Variants (-D...): NO_CLAIM (break, acquire, then claim), CLAIM_WITHOUT_IF_MATCH, BREAK_WITHOUT_IF_MATCH, NO_READ_BACK
 * (a claim whose answer was lost is taken for granted), NO_CONFIRM, NO_RENEWAL_CHECK (a leader never asks whether the
 * lease is still its own),
 * NO_CLAIM_CHECK (it does not ask whether the claim is still its own). REACH shows that a busy end is reached.
 */
#ifndef NODES
#define NODES 2
#endif
#ifndef FAULTS
#define FAULTS 2 /* requests that are lost, late or carried out twice */
#endif
#ifndef SUSPICIONS
#define SUSPICIONS 1 /* of living leaders */
#endif
#ifndef EXPIRIES
#define EXPIRIES 1 /* of living leaders' leases */
#endif
#ifndef DEATHS
#define DEATHS 1 /* crashes, and resignations of nodes that stand again */
#endif
/* Each vacancy costs at most one claim a node and one more under the lease; a late request can make a vacancy. */
#define EPOCHS_MAX ((1 + SUSPICIONS + EXPIRIES + DEATHS + FAULTS) * (NODES + 1))

mtype { CLAIM, BREAK, ACQUIRE, RELEASE, NONE, HELD, EXPIRED, BROKEN };

#define OK 1
#define NOT_CURRENT 2 /* the version is another */
#define LEASE_REFUSED 3 /* the lease is somebody else's, or there is none */
#define LOST 4

typedef Late {
  mtype kind;
  byte node;
  byte epoch; /* CLAIM: the epoch claimed. BREAK: the epoch that was seen */
  byte lease; /* the lease id, 0: none */
  bit current
}
Late late[FAULTS];
byte faults, suspicions, expiries, deaths;

/* The control blob. */
byte epoch;
byte claimant;
byte lease; /* the id of the last lease, 0: none */
mtype leaseState = NONE;

/* The nodes; numbered from 1. */
bit known[NODES + 1]; /* whether the version that it saw last is still the blob's */
bit dead[NODES + 1];
byte holding[NODES + 1]; /* the lease id that it stands or leads under */
byte leading[NODES + 1]; /* the epoch that it leads under; 0: none */
byte claimed[NODES + 1]; /* the last epoch that a claim of its was carried out for */
byte led[NODES + 1]; /* the last epoch that it led under */

hidden byte i;
hidden byte result;
hidden Late arriving;

#define LEASED (leaseState == HELD)
#define LEASE_OF(e, n) ((e) * 4 + (n))
#define CLAIMED_FOR(id) ((id) / 4)

inline forget(n) { late[n].kind = 0; late[n].node = 0; late[n].epoch = 0; late[n].lease = 0; late[n].current = 0 }

inline changed() {
  for (i : 1 .. NODES) { known[i] = 0 }
  for (i : 0 .. FAULTS - 1) {
    if
    :: late[i].kind != 0 -> late[i].current = 0;
#if !defined(CLAIM_WITHOUT_IF_MATCH) && !defined(BREAK_WITHOUT_IF_MATCH)
      if
      :: late[i].kind == CLAIM || late[i].kind == BREAK -> forget(i)
      :: else
      fi
#endif
    :: else
    fi
  }
  i = 0;
  /* A lease that has ended is gone for good when the blob changes. */
  if
  :: leaseState != HELD -> leaseState = NONE; lease = 0
  :: else
  fi
}

#ifdef CLAIM_WITHOUT_IF_MATCH
#define CLAIM_MATCHES(current) true
#else
#define CLAIM_MATCHES(current) (current)
#endif
#ifdef BREAK_WITHOUT_IF_MATCH
#define BREAK_MATCHES(current) true
#else
#define BREAK_MATCHES(current) (current)
#endif

inline apply(kind_, node_, epoch_, lease_, current_) {
  printf("%e by node %d: epoch %d, lease %d/%d (now %d/%d, %e)\n", kind_, node_, epoch_, CLAIMED_FOR(lease_), lease_ % 4,
    CLAIMED_FOR(lease), lease % 4, leaseState);
  if
  :: kind_ == CLAIM && !CLAIM_MATCHES(current_) -> result = NOT_CURRENT
  :: kind_ == CLAIM && CLAIM_MATCHES(current_) && (LEASED -> lease != lease_ : lease_ != 0) -> result = LEASE_REFUSED
  :: kind_ == CLAIM && CLAIM_MATCHES(current_) && (LEASED -> lease == lease_ : lease_ == 0) ->
    assert(epoch_ > epoch);
    assert(epoch_ <= EPOCHS_MAX);
    epoch = epoch_; claimant = node_; claimed[node_] = epoch_;
    changed();
    result = OK
  :: kind_ == BREAK && !BREAK_MATCHES(current_) -> result = NOT_CURRENT
  :: kind_ == BREAK && BREAK_MATCHES(current_) && (leaseState == NONE || leaseState == BROKEN) -> result = LEASE_REFUSED
  :: kind_ == BREAK && BREAK_MATCHES(current_) && (leaseState == HELD || leaseState == EXPIRED) ->
    assert(CLAIMED_FOR(lease) <= epoch_);
    leaseState = BROKEN;
    result = OK
  :: kind_ == ACQUIRE && LEASED && lease != lease_ -> result = LEASE_REFUSED
  :: kind_ == ACQUIRE && !(LEASED && lease != lease_) -> lease = lease_; leaseState = HELD; result = OK
  :: kind_ == RELEASE && lease != lease_ -> result = LEASE_REFUSED
  :: kind_ == RELEASE && lease == lease_ -> lease = 0; leaseState = NONE; result = OK
  fi;
  if
  :: result != OK -> printf("  refused\n")
  :: else
  fi
}

inline keep(kind_, node_, epoch_, lease_, current_) {
  for (i : 0 .. FAULTS - 1) {
    if
    :: late[i].kind == 0 ->
      late[i].kind = kind_; late[i].node = node_; late[i].epoch = epoch_; late[i].lease = lease_;
      late[i].current = current_;
      break
    :: else
    fi
  }
  i = 0;
  faults++;
  printf("%e by node %d is late: epoch %d, lease %d\n", kind_, node_, epoch_, lease_)
}

/* As in log.pml: answered; answered with a second copy under way; no answer. */
inline request(kind_, node_, epoch_, lease_) {
  if
  :: d_step { apply(kind_, node_, epoch_, lease_, known[node_]) }
  :: faults < FAULTS -> d_step {
      keep(kind_, node_, epoch_, lease_, known[node_]); apply(kind_, node_, epoch_, lease_, known[node_]) }
  :: faults < FAULTS -> d_step { keep(kind_, node_, epoch_, lease_, known[node_]); result = LOST }
  fi
}

proctype Node(byte n) {
  byte seen; /* the epoch at the last look */
  bit again; /* whether the lease was asked for before */

standby:
  skip;
  d_step { seen = 0; again = 0; holding[n] = 0; leading[n] = 0; known[n] = 0 };
end_waiting:
  if
  :: d_step { !LEASED || (claimant != n && (dead[claimant] || suspicions < SUSPICIONS)) ->
      known[n] = 1; seen = epoch }
  fi;
  if
  :: !LEASED
  :: atomic { LEASED && known[n] && claimant != n && (dead[claimant] || suspicions < SUSPICIONS) ->
      if
      :: !dead[claimant] -> suspicions++
      :: else
      fi }; goto breaking
  :: LEASED -> goto standby /* changed since the look: it waits */
  fi;
  goto claiming;

breaking:
  atomic {
    request(BREAK, n, seen, 0);
    if
    :: result == OK || result == LEASE_REFUSED -> result = 0
    :: else -> result = 0; goto standby
    fi
  };

#ifdef NO_CLAIM
claiming:
  skip;
  goto acquiring;
#else
claiming:
  atomic {
    request(CLAIM, n, seen + 1, 0);
    if
    :: result == OK -> result = 0; known[n] = 1; seen++
#ifdef NO_READ_BACK
    :: result == LOST -> result = 0; seen++
#else
    :: result == LOST -> result = 0; goto readingBack
#endif
    :: else -> result = 0; goto standby
    fi
  };
  goto acquiring;
#endif

readingBack:
  if
  :: d_step { epoch == seen + 1 && claimant == n -> known[n] = 1; seen++ }
  :: !(epoch == seen + 1 && claimant == n) -> goto standby
  fi;

acquiring:
#ifdef NO_CLAIM
  atomic { holding[n] = LEASE_OF(seen + 1, n) };
#else
  atomic { holding[n] = LEASE_OF(seen, n) };
#endif
  atomic {
    request(ACQUIRE, n, 0, holding[n]);
    if
    :: result == OK -> result = 0; again = 0
    :: result == LOST && !again -> result = 0; again = 1; goto acquiring
    :: result == LOST && again -> result = 0; goto releasing
    :: result == LEASE_REFUSED -> result = 0; goto standby
    fi
  };

#ifdef NO_CLAIM
  goto claimingUnderLease;
#endif
#ifndef NO_CONFIRM
  if
  :: known[n] -> goto lead
  :: else
  fi;
#else
  goto lead;
#endif
claimingUnderLease:
  skip;
  /* Somebody claimed in between, and cannot any more. */
  d_step { known[n] = 1; seen = epoch };
  atomic {
    request(CLAIM, n, seen + 1, holding[n]);
    if
    :: result == OK -> result = 0; known[n] = 1; seen++
    :: result == LOST -> result = 0; goto readingBackUnderLease
    :: else -> result = 0; goto releasing
    fi
  };
  goto lead;

readingBackUnderLease:
  if
  :: d_step { epoch == seen + 1 && claimant == n -> known[n] = 1; seen++ }
  :: !(epoch == seen + 1 && claimant == n) -> goto releasing
  fi;

lead:
  skip;
  d_step {
    assert(claimed[n] == seen && led[n] < seen);
    led[n] = seen;
    leading[n] = seen;
    printf("node %d leads under epoch %d\n", n, seen)
  };
#ifdef REACH
  assert(!(faults == FAULTS && suspicions == SUSPICIONS && expiries == EXPIRIES && deaths == DEATHS && led[1] > 0 && led[2] > 0));
#endif
end_leading:
  if
#ifndef NO_CLAIM_CHECK
  :: !known[n] -> printf("node %d finds another's claim\n", n) /* the answer to its renewal has another version */
#endif
#ifndef NO_RENEWAL_CHECK
  :: leaseState != HELD || lease != holding[n] ->
    /* A renewal finds out: one that ran out is renewed while it is still the blob's last, else the term ends. */
    if
    :: d_step { leaseState == EXPIRED && lease == holding[n] -> leaseState = HELD }; goto end_leading
    :: !(leaseState == EXPIRED && lease == holding[n])
    :: true /* its own clock says so before the renewal can */
    fi
#endif
  :: atomic { deaths < DEATHS -> deaths++; printf("node %d resigns\n", n) }
  :: atomic { deaths < DEATHS -> deaths++; dead[n] = 1; printf("node %d crashes\n", n) }; goto gone
  fi;

releasing:
  skip;
  d_step { leading[n] = 0 };
  atomic { request(RELEASE, n, 0, holding[n]); result = 0 };
  goto standby;

gone:
  skip;
  d_step { leading[n] = 0; holding[n] = 0; known[n] = 0; seen = 0 };
end_gone:
  false
}

/* Leases run out: one that nobody keeps up always, one of a leader that is too slow EXPIRIES times. */
proctype Time() {
end_time:
  do
  :: d_step { LEASED && !(CLAIMED_FOR(lease) != 0 && holding[lease % 4] == lease) -> leaseState = EXPIRED }
  :: d_step { LEASED && CLAIMED_FOR(lease) != 0 && holding[lease % 4] == lease && expiries < EXPIRIES ->
      leaseState = EXPIRED; expiries++; printf("the lease runs out\n") }
  od
}

inline arrive(n) {
  arriving.kind = late[n].kind; arriving.node = late[n].node; arriving.epoch = late[n].epoch;
  arriving.lease = late[n].lease; arriving.current = late[n].current;
  forget(n);
  apply(arriving.kind, arriving.node, arriving.epoch, arriving.lease, arriving.current);
  result = 0
}

proctype Network() {
end_network:
  do
  :: d_step { late[0].kind != 0 -> arrive(0) }
#if FAULTS > 1
  :: d_step { late[1].kind != 0 -> arrive(1) }
#endif
#if FAULTS > 2
  :: d_step { late[2].kind != 0 -> arrive(2) }
#endif
  od
}

/* When nothing can happen any more, one node leads, the blob says so, and the lease is its. */
proctype Judge() {
  byte leader;
end_judge:
  timeout;
  d_step {
    for (i : 1 .. NODES) {
      if
      :: leading[i] != 0 -> assert(leader == 0); leader = i
      :: else
      fi
    }
    i = 0
  };
  assert(leader != 0);
  assert(LEASED && lease == holding[leader]);
  assert(claimant == leader && epoch == leading[leader])
}

init {
  atomic {
    for (i : 1 .. NODES) { run Node(i) }
    i = 0;
    run Time();
    run Network();
    run Judge()
  }
}
