"""Host, PostgreSQL and Redis: our processes and clock, and what three exporters say of what they stand on.

The names are those of node_exporter 1.8, postgres_exporter 0.17 and redis_exporter 1.60 and later, as
they export them without further flags (tests/unit/ops/exporters.toml).
"""

from __future__ import annotations

from ops.dashboards.board import CHOSEN, OURS, Board, Row, Variable
from ops.dashboards.panels import (
    BAD,
    GOOD,
    WARN,
    increase,
    least,
    lines,
    listing,
    most,
    number,
    rate,
    total,
)

RATE = "[$__rate_interval]"
NODE = 'instance=~"$node"'
REAL_DISK = f'{NODE}, device!~"(loop|ram|sr|fd).*"'
FILES = f'{NODE}, fstype!~"tmpfs|ramfs|overlay|squashfs|iso9660|nsfs"'
POSTGRES = 'instance=~"$postgres"'
OF_DATABASE = f'{POSTGRES}, datname=~"$database"'
REDIS = 'instance=~"$redis"'
FOUND = rate("pg_stat_database_blks_hit", OF_DATABASE, "instance")

PROCESSES = Row(
    "Processes, clock, certificates, disks",
    (
        number(
            "Processes that answer", "Of all that the chosen hosts name.", "percentunit",
            'avg(up{job="$job", instance=~"$instance"})', steps=((0, BAD), (0.999, GOOD)),
            alerts=("PortcullisProcessDown",),
        ),
        number(
            "Starts in the last hour", "Processes that were started: an upgrade, or one that dies and is started"
            " again.", "short", f"sum(changes(process_start_time_seconds{{{CHOSEN}}}[1h]))",
            steps=((5, WARN), (20, BAD)), alerts=("PortcullisProcessRestarts",), decimals=0,
        ),
        number(
            "Clock, worst bound", "No host's clock is further from UTC than this, by chrony's own figures.", "s",
            most("portcullis_clock_error_bound_seconds", CHOSEN), steps=((0.001, WARN), (0.1, BAD)),
            alerts=("PortcullisClockDegraded", "PortcullisClockUnknown"),
        ),
        number(
            "Clock is", "1: every process of every host sees it as `ok`.", "short",
            f'min(portcullis_clock_state{{{CHOSEN}, state="ok"}})', steps=((0, BAD), (1, GOOD)),
            words={"0": "not ok", "1": "ok"}, alerts=("PortcullisClockUnknown",),
        ),
        number(
            "First certificate to end", "Until the first of those that processes began with ends.", "s",
            f"min(portcullis_certificate_expiry_timestamp_seconds{{{CHOSEN}}}) - time()",
            base=BAD, steps=((3 * 86400, WARN), (21 * 86400, GOOD)),
            alerts=("PortcullisCertificateExpiring", "PortcullisCertificateExpiresSoon"),
        ),
        number(
            "Least room on a disk of ours", "Free, of the file system, over all places that processes write to.",
            "percentunit",
            f"min(portcullis_disk_free_bytes{{{CHOSEN}}} / portcullis_disk_size_bytes{{{CHOSEN}}})",
            steps=((0, BAD), (0.05, WARN), (0.15, GOOD)),
            alerts=("PortcullisDiskFull", "PortcullisDiskLow"),
        ),
        lines(
            "CPU by process", "Seconds of CPU a second; 1 is a whole core. A worker or ingress near 1 has no"
            " capacity left: run more of them.", "short",
            (f"max by (instance, process) (rate(process_cpu_seconds_total{{{CHOSEN}}}{RATE}))",
             "{{instance}} {{process}}"), steps=((0.9, WARN),),
        ),
        lines(
            "Memory by process", "Resident. A line that only rises is a leak: keep the process' log.", "bytes",
            (most("process_resident_memory_bytes", CHOSEN, "instance, process"), "{{instance}} {{process}}"),
        ),
        lines(
            "Open files, of those allowed", "By process. At 1 no connection can be made any more.", "percentunit",
            (f"max by (instance, process) (process_open_fds{{{CHOSEN}}} / process_max_fds{{{CHOSEN}}})",
             "{{instance}} {{process}}"), steps=((0.8, WARN),), top=1,
        ),
        lines(
            "Clock",
            "The bound of its error, what the operator allows, and its offset from chrony's estimate.", "s",
            (most("portcullis_clock_error_bound_seconds", CHOSEN, "instance"), "{{instance}} bound"),
            (most("portcullis_clock_error_max_seconds", CHOSEN, "instance"), "{{instance}} allowed"),
            (f"max by (instance) (abs(portcullis_clock_offset_seconds{{{CHOSEN}}}))", "{{instance}} offset"),
            (most("portcullis_clock_root_delay_seconds", CHOSEN, "instance"), "{{instance}} root delay"),
            (most("portcullis_clock_root_dispersion_seconds", CHOSEN, "instance"), "{{instance}} root dispersion"),
            alerts=("PortcullisClockBoundGrows",),
        ),
        lines(
            "Clock: steps, tiers, records", "Times somebody set it while we traded; tenants whose tier it does not"
            " meet; records about it that could not be written.", "short",
            (increase("portcullis_clock_steps_total", CHOSEN, "direction"), "stepped {{direction}}"),
            (most("portcullis_clock_tenants_over_tier", CHOSEN, "tier"), "tenants over {{tier}}"),
            (increase("portcullis_clock_records_failed_total", CHOSEN), "records not written"),
            alerts=("PortcullisClockStepped", "PortcullisClockOverTier", "PortcullisClockRecordsWait"),
        ),
        listing(
            "Certificates", "Seconds until each that a process began with ends.", "s",
            least("portcullis_certificate_expiry_timestamp_seconds", CHOSEN, "instance, process, use")
            + " - time()",
            width=8, base=BAD, steps=((3 * 86400, WARN), (21 * 86400, GOOD)),
            alerts=("PortcullisCertificateExpiresSoon",),
        ),
        lines(
            "Room by place", "Free, of the file system that each place of the installation is on.", "percentunit",
            (f"min by (instance, place) (portcullis_disk_free_bytes{{{CHOSEN}}}"
             f" / portcullis_disk_size_bytes{{{CHOSEN}}})", "{{instance}} {{place}}"),
            top=1, alerts=("PortcullisDiskLow", "PortcullisDiskFull"),
        ),
    ),
)  # fmt: skip
HOST = Row(
    "Host (node_exporter)",
    (
        lines(
            "CPU in use", "Of all cores. `steal` is taken by the machine's owner: latency that nothing here"
            " explains.", "percentunit",
            (f'1 - avg by (instance) (rate(node_cpu_seconds_total{{{NODE}, mode="idle"}}{RATE}))', "{{instance}}"),
            (f'avg by (instance) (rate(node_cpu_seconds_total{{{NODE}, mode="steal"}}{RATE}))',
             "{{instance}} stolen"), top=1, steps=((0.8, WARN),),
        ),
        lines(
            "Pressure", "Share of time in which something waited for CPU, disk or memory. Better than the load:"
            " it says what is missing.", "percentunit",
            (f"rate(node_pressure_cpu_waiting_seconds_total{{{NODE}}}{RATE})", "{{instance}} CPU"),
            (f"rate(node_pressure_io_waiting_seconds_total{{{NODE}}}{RATE})", "{{instance}} disk"),
            (f"rate(node_pressure_memory_waiting_seconds_total{{{NODE}}}{RATE})", "{{instance}} memory"),
        ),
        lines(
            "Memory in use", "Without what can be given back at once. Processes with secrets are locked in memory"
            " and are never swapped.", "percentunit",
            (f"1 - node_memory_MemAvailable_bytes{{{NODE}}} / node_memory_MemTotal_bytes{{{NODE}}}",
             "{{instance}}"),
            (f"rate(node_vmstat_pswpout{{{NODE}}}{RATE})", "{{instance}} pages swapped out a second"),
            steps=((0.9, WARN),),
        ),
        lines(
            "Time of a write", "Mean seconds by disk. The commit of every signal and of every intent is such a"
            " write.", "s",
            (f"rate(node_disk_write_time_seconds_total{{{REAL_DISK}}}{RATE})"
             f" / rate(node_disk_writes_completed_total{{{REAL_DISK}}}{RATE})", "{{instance}} {{device}}"),
        ),
        lines(
            "Time of a flush", "Mean seconds by disk: what fsync waits for. Above 10 ms a disk without a"
            " protected cache is what limits accepting.", "s",
            (f"rate(node_disk_flush_requests_time_seconds_total{{{REAL_DISK}}}{RATE})"
             f" / rate(node_disk_flush_requests_total{{{REAL_DISK}}}{RATE})", "{{instance}} {{device}}"),
            steps=((0.01, WARN),),
        ),
        lines(
            "Disk in use", "Share of time with a request under way, and bytes written are in the next panel.",
            "percentunit",
            (f"rate(node_disk_io_time_seconds_total{{{REAL_DISK}}}{RATE})", "{{instance}} {{device}}"), top=1,
        ),
        lines(
            "Written", "Bytes a second by disk.", "Bps",
            (f"rate(node_disk_written_bytes_total{{{REAL_DISK}}}{RATE})", "{{instance}} {{device}}"),
        ),
        lines(
            "Room on file systems", "Free for us, of the whole. A full one refuses what is written there.",
            "percentunit",
            (f"node_filesystem_avail_bytes{{{FILES}}} / node_filesystem_size_bytes{{{FILES}}}",
             "{{instance}} {{mountpoint}}"), top=1, alerts=("PortcullisDiskLow",),
        ),
        lines(
            "Network", "Bytes a second, received and sent.", "Bps",
            (f'sum by (instance) (rate(node_network_receive_bytes_total{{{NODE}, device!="lo"}}{RATE}))',
             "{{instance}} in"),
            (f'sum by (instance) (rate(node_network_transmit_bytes_total{{{NODE}, device!="lo"}}{RATE}))',
             "{{instance}} out"),
        ),
        lines(
            "TCP",
            "Segments sent again, of those sent; and connections that a full listen queue turned away: those"
            " are senders who heard nothing.", "percentunit",
            (f"rate(node_netstat_Tcp_RetransSegs{{{NODE}}}{RATE})"
             f" / rate(node_netstat_Tcp_OutSegs{{{NODE}}}{RATE})",
             "{{instance}} sent again"),
            (f"rate(node_netstat_TcpExt_ListenDrops{{{NODE}}}{RATE})", "{{instance}} turned away a second"),
        ),
    ),
)  # fmt: skip
DATABASE = Row(
    "PostgreSQL (postgres_exporter)",
    (
        number(
            "PostgreSQL", "Whether its exporter reaches it. Without it nothing new is accepted.", "short",
            least("pg_up", POSTGRES), steps=((0, BAD), (1, GOOD)), words={"0": "away", "1": "answers"},
            height=8, alerts=("PortcullisSignalsNotKept",),
        ),
        lines(
            "Connections, of those allowed", "At 1 a process that starts finds no place.", "percentunit",
            (
                total("pg_stat_database_numbackends", POSTGRES, "instance")
                + " / " + most("pg_settings_max_connections", POSTGRES, "instance"), "{{instance}}",
            ),
            width=10, steps=((0.8, WARN),), top=1,
        ),
        lines(
            "Transactions", "A second, committed and rolled back.", "ops",
            (rate("pg_stat_database_xact_commit", OF_DATABASE, "instance"), "{{instance}} committed"),
            (rate("pg_stat_database_xact_rollback", OF_DATABASE, "instance"),
             "{{instance}} rolled back"), width=10,
        ),
        lines(
            "Longest transaction",
            "By state. `idle in transaction` for long holds locks and keeps dead rows alive.",
            "s", (most("pg_stat_activity_max_tx_duration", OF_DATABASE, "state"), "{{state}}"),
            steps=((60, WARN),),
        ),
        lines(
            "Sessions by state", "`active` near the number of cores is a database that is busy.", "short",
            (total("pg_stat_activity_count", OF_DATABASE, "state"), "{{state}}"), stacked=True,
        ),
        lines(
            "Locks and deadlocks",
            "Held, by mode; deadlocks in the interval. We order our locks, so a deadlock is a"
            " fault to report.", "short",
            (f"sum by (mode) (pg_locks_count{{{OF_DATABASE}}}) > 0", "{{mode}}"),
            (increase("pg_stat_database_deadlocks", OF_DATABASE), "deadlocks"),
        ),
        lines(
            "Found in memory", "Share of blocks that needed no read. A fall is a working set that has outgrown"
            " shared_buffers.", "percentunit",
            (
                f"{FOUND} / ({FOUND} + {rate('pg_stat_database_blks_read', OF_DATABASE, 'instance')})",
                "{{instance}}",
            ),
            top=1,
        ),
        lines(
            "Size", "Of the database, and of its write-ahead log on disk. A log that grows and grows waits for its"
            " archive, or for a standby that is away.", "bytes",
            (f"pg_database_size_bytes{{{OF_DATABASE}}}", "{{instance}} {{datname}}"),
            (f"pg_wal_size_bytes{{{POSTGRES}}}", "{{instance}} write-ahead log"),
        ),
        lines(
            "Archive of the write-ahead log", "Segments that could not be archived, and how old the last archived"
            " one is (seconds): what a restore would lose without the log's own disk.", "short",
            (f"increase(pg_stat_archiver_failed_count{{{POSTGRES}}}{RATE})", "{{instance}} failed"),
            (f"pg_stat_archiver_last_archive_age{{{POSTGRES}}}", "{{instance}} last, s"),
        ),
    ),
)  # fmt: skip
CACHE = Row(
    "Redis (redis_exporter)",
    (
        number(
            "Redis",
            "Whether its exporter reaches it. Without it everything goes on, more slowly, and each process"
            " counts quotas for itself.", "short", least("redis_up", REDIS),
            steps=((0, BAD), (1, GOOD)), words={"0": "away", "1": "answers"}, height=8,
            alerts=("PortcullisRedisAway", "PortcullisBudgetAlone"),
        ),
        lines(
            "Commands", "A second, by all of our processes and whoever else uses it.", "ops",
            (rate("redis_commands_processed_total", REDIS, "instance"), "{{instance}}"), width=10,
        ),
        lines(
            "Time of a command", "Mean seconds of the six that take longest in all. A wake-up, and a place in a"
            " broker's limit, are each one.", "s",
            (f"topk(6, sum by (cmd) (rate(redis_commands_duration_seconds_total{{{REDIS}}}{RATE}))"
             f" / sum by (cmd) (rate(redis_commands_total{{{REDIS}}}{RATE})))", "{{cmd}}"), width=10,
        ),
        lines(
            "Memory", "Used, and the most that it may use (0: as much as there is). Nothing of ours must be thrown"
            " out: quotas would begin anew.", "bytes",
            (f"redis_memory_used_bytes{{{REDIS}}}", "{{instance}} used"),
            (f"redis_memory_max_bytes{{{REDIS}}}", "{{instance}} most"),
        ),
        lines(
            "Thrown out, turned away", "Keys evicted for want of memory, connections rejected: both stay at 0.",
            "short",
            (f"increase(redis_evicted_keys_total{{{REDIS}}}{RATE})", "{{instance}} keys"),
            (f"increase(redis_rejected_connections_total{{{REDIS}}}{RATE})", "{{instance}} connections"),
        ),
        lines(
            "Clients", "Connected, and blocked in a read: each worker blocks in one for wake-ups.", "short",
            (f"redis_connected_clients{{{REDIS}}}", "{{instance}} connected"),
            (f"redis_blocked_clients{{{REDIS}}}", "{{instance}} blocked"),
        ),
    ),
)  # fmt: skip
BACKUP = Row(
    "Backup",
    (
        number(
            "Archive of the WAL", "1 while PostgreSQL streams its log to the archive.", "short",
            least("portcullis_backup_receiver_up", CHOSEN), steps=((0, BAD), (1, GOOD)),
            words={"0": "away", "1": "streams"},
        ),
        number(
            "Nothing acknowledged can be lost", "1: a commit waits for the archive. Compare with what the"
            " settings want.", "short", least("portcullis_backup_synchronous", CHOSEN),
            steps=((0, WARN), (1, GOOD)), words={"0": "may be lost", "1": "synchronous"},
        ),
        number(
            "Last base backup", "Since the last whole one.", "s",
            most("portcullis_backup_base_age_seconds", CHOSEN),
            steps=((26 * 3600, WARN), (50 * 3600, BAD)),
        ),
        number(
            "Last drill", "Since the last that restored without losing anything.", "s",
            most("portcullis_backup_drill_age_seconds", CHOSEN), steps=((8 * 86400, WARN), (35 * 86400, BAD)),
        ),
        number(
            "Set over Patroni", "1: ALTER SYSTEM set what Patroni has to: what was acknowledged may be lost.",
            "short", most("portcullis_backup_overrides_patroni", CHOSEN), steps=((1, BAD),),
        ),
        number(
            "Slot lost", "1: PostgreSQL threw away log that the archive had not; a new base backup is needed.",
            "short", most("portcullis_backup_slot_lost", CHOSEN), steps=((1, BAD),),
        ),
        number(
            "Room in the repository", "Free bytes where backups are kept.", "bytes",
            least("portcullis_backup_free_bytes", CHOSEN),
        ),
        lines(
            "Behind PostgreSQL", "For how long the archive has not had everything.", "s",
            (most("portcullis_backup_wal_lag_seconds", CHOSEN), "seconds"),
        ),
        lines(
            "WAL not in the archive", "What a lost disk would cost, unless commits wait for the archive.", "bytes",
            (most("portcullis_backup_wal_lag_bytes", CHOSEN), "bytes"),
        ),
        lines(
            "Backups, and what failed", "Whole base backups; receivers that ended; looks that failed; and whether"
            " `synchronous` is wanted.", "short",
            (most("portcullis_backup_bases", CHOSEN), "base backups"),
            (increase("portcullis_backup_receiver_ends_total", CHOSEN), "receiver ended"),
            (increase("portcullis_backup_looks_failed_total", CHOSEN), "looks failed"),
            (most("portcullis_backup_synchronous_wanted", CHOSEN), "synchronous wanted"),
        ),
    ),
)  # fmt: skip
BOARD = Board(
    uid="portcullis-host",
    title="Portcullis / Host, PostgreSQL, Redis",
    description="Our processes, clock, certificates and disks; the host, PostgreSQL and Redis by their exporters.",
    page="operating/dashboards.md",
    variables=(
        *OURS,
        Variable("node", "node_exporter", "label_values(node_uname_info, instance)"),
        Variable("postgres", "postgres_exporter", "label_values(pg_up, instance)"),
        Variable(
            "database", "Database", 'label_values(pg_database_size_bytes{instance=~"$postgres"}, datname)'
        ),
        Variable("redis", "redis_exporter", "label_values(redis_up, instance)"),
    ),
    rows=(PROCESSES, BACKUP, HOST, DATABASE, CACHE),
    refresh="30s",
)  # fmt: skip
