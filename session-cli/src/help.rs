//! What `--help` says.

pub(crate) const OVERVIEW: &str = "\
Looks after the sessions of an application, in whichever store they are.

sessions COMMAND [--store STORE] [--json] [--quiet] …

  migrate                       make the table or the folder that sessions are kept in
  check                         say what is wrong with the store, and what to do
  clear-expired                 remove what has expired
  stats                         count: live, expired, by owner, by size, by age
  list --owner ID               the live sessions of a user
  show --owner ID HANDLE        one of them: what is known of it, never its data
  end --owner ID HANDLE         end one of them
  end-all --owner ID            end all of them: log this user out everywhere
  copy FROM TO --journal FILE   bring the sessions of one store into another, while both are used
  reseal                        seal with the newest key what is sealed with an older one
  help COMMAND | help stores | help exit-codes

  --store STORE       the store, as `sessions help stores` says
                      (without it: the environment variable SESSIONS_STORE)
  --store-file FILE   the same, in the first line of a file
  --json              one JSON object for programs, in place of the text
  --quiet             no progress and no warnings
  --progress HOW      bar, lines or none (without it: what suits standard error)

No session's key and none of its data is ever asked for or shown.
";

pub(crate) const STORES: &str = "\
A store is named by one of these:

  file:DIR                              one file each in this folder
  sqlite:FILE                           in this SQLite database
  postgres://user:password@host/name    in this PostgreSQL database
  mysql://user:password@host/name       in this MariaDB or MySQL database
  redis://user:password@host:6379/0     in this Redis or Valkey
  redis-sentinel://host,host/service/0, redis-cluster://host,host
                                        by its Sentinels; in a cluster
  cached:REDIS+DATABASE                 in this database, with copies in this Redis
  env:VARIABLE                          what the environment variable says
  @FILE                                 what the first line of the file says

With TLS, Redis' URLs begin with rediss. The table and the prefix of Redis' keys are as the application has them by default, or
follow at the end: postgres://host/name#table=auth.visits, redis://host#prefix=shop:session:.

A password on a command line can be read by every user of the machine: give such a URL by env: or @.
";

pub(crate) const EXIT_CODES: &str = "\
  0   done
  1   failed: the store could not be used. What was done so far stays done; run it again
  2   the command line is wrong; nothing was done
  3   done, and somebody should look at what was said: `check` has warnings, a copy is not complete, …
  4   `check` found what keeps sessions from working
  5   there is no such session
";

pub(crate) const MIGRATE: &str = "\
Makes the table and its indexes, or the folder. Does nothing where all is in place. Redis needs nothing.

sessions migrate [--print] [--store STORE]

  --print    print the SQL for a database, and change nothing (a SQLite file must exist)
";

pub(crate) const CHECK: &str = "\
Looks at the store as an application does when it starts: the table, its columns and indexes, the connection's settings,
what Redis does when its memory is full or it restarts. Each finding says what to do. Changes nothing.

sessions check [--store STORE]

Exit codes: 0 nothing to say, 3 warnings, 4 errors or the store can't be reached.
";

pub(crate) const CLEAR_EXPIRED: &str = "\
Removes the sessions that have expired, in small batches with rests between them, beside live traffic. It may be interrupted
at any time and goes on when it is run again.

sessions clear-expired [--rate N] [--dry-run] [--store STORE]

  --rate N     at most N sessions in a second, on average
  --dry-run    only count them

Redis forgets by itself what has expired: there is nothing to remove.
";

pub(crate) const STATS: &str = "\
Goes through all sessions and counts them: live and expired, logged in and not, by owner, by size, by age.

sessions stats [--top N] [--store STORE]

  --top N    the N owners with the most sessions (without it: 5)
";

pub(crate) const LIST: &str = "\
Lists the live sessions of one owner, the newest first: handle, begin, expiry, and the device's name.

sessions list --owner ID [--store STORE]

The owner is what the application has given to `log_in`, as text.
";

pub(crate) const SHOW: &str = "\
Shows what is known of one session of an owner: never its key or data. A handle is what `list` shows, and the application's own
list of devices; it is no key, and of use to nobody without the store.

sessions show --owner ID HANDLE [--store STORE]

Exit code 5: the owner has no such session.
";

pub(crate) const END: &str = "\
Ends one session of an owner, at once and for good.

sessions end --owner ID HANDLE [--store STORE]

Exit code 5: the owner has no such session.
";

pub(crate) const END_ALL: &str = "\
Ends all sessions of an owner, at once and for good: this user is logged out everywhere.

sessions end-all --owner ID [--store STORE]
";

pub(crate) const COPY: &str = "\
Brings the sessions of FROM into TO, so that an application can move to another store. TO must be migrated. Run again, it does
only what is left to do.

sessions copy FROM TO --journal FILE [--known-only] [--rate N] [--dry-run]

  --journal FILE   what was copied, so that what has ended since is never brought back. Keep it until the move is over
  --known-only     bring no session that an earlier copy did not know
  --rate N         at most N sessions in a second
  --dry-run        only say what is left to do

1. sessions copy FROM TO --journal FILE     while the application uses FROM
2. let the application use TO
3. the same command once more, when nobody uses FROM any more

What TO's application has written or ended is never overwritten and never brought back; what has ended in FROM is ended in TO.
Between 2 and 3, TO does not know of what happened in FROM after 1. Stop the application for 2 and 3, and there is no
such time. The documentation has the whole guarantee.

Exit code 3: something is left to do, or did not stay as it was copied.
";

pub(crate) const RESEAL: &str = "\
Seals with the newest key every session that is sealed with an older one, beside live traffic. When it ends with
exit code 0, the older keys can be taken out of the ring, once no server writes with them.

sessions reseal (--keys-env VARIABLE | --keys-file FILE) [--ring-name NAME] [--accept-plain] [--rate N] [--store STORE]

  --keys-env VARIABLE    the ring's keys, in base64, the newest first, in an environment variable
  --keys-file FILE       the same in a file
  --ring-name NAME       what the application has given to `KeyRing::with_name`
  --accept-plain         seal also what is not sealed yet
  --rate N               at most N sessions in a second

Exit code 3: some could not be opened with any key, or were written at the same moment: run it again.
";
