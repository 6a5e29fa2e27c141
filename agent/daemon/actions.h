/* What the tables of life.c do. Each is called with the new state set, and may bring up the next event as its
 * last deed. */
#ifndef WH_DAEMON_ACTIONS_H
#define WH_DAEMON_ACTIONS_H

#include "daemon/daemon.h"

/* ---- runner.c: session and poll ---- */
void do_delete_leftover(struct runner *r, const struct runner_cause *cause);
void do_connect(struct runner *r, const struct runner_cause *cause);
void do_connect_later(struct runner *r, const struct runner_cause *cause);
void do_connect_with_new_token(struct runner *r, const struct runner_cause *cause);
void do_reconnect(struct runner *r, const struct runner_cause *cause);
void do_reconnect_later(struct runner *r, const struct runner_cause *cause);
void do_reconnect_with_new_token(struct runner *r, const struct runner_cause *cause);
void do_reconnect_by_version(struct runner *r, const struct runner_cause *cause);
void do_try_newer(struct runner *r, const struct runner_cause *cause);
void do_listen(struct runner *r, const struct runner_cause *cause);
void do_poll(struct runner *r, const struct runner_cause *cause);
void do_poll_later(struct runner *r, const struct runner_cause *cause);
void do_poll_after_error(struct runner *r, const struct runner_cause *cause);
void do_leave(struct runner *r, const struct runner_cause *cause);
void do_delete_session(struct runner *r, const struct runner_cause *cause);
void do_leave_now(struct runner *r, const struct runner_cause *cause);
void do_end(struct runner *r, const struct runner_cause *cause);
void do_settle(struct runner *r, const struct runner_cause *cause);
void do_rest(struct runner *r, const struct runner_cause *cause);
void do_begin(struct runner *r, const struct runner_cause *cause);
void do_open(struct runner *r, const struct runner_cause *cause);
/* ... each names the state that the runner ends in, as soon as its job is over. */
void do_be_removed(struct runner *r, const struct runner_cause *cause);
void do_be_stopped(struct runner *r, const struct runner_cause *cause);
void do_be_refused(struct runner *r, const struct runner_cause *cause);
void do_be_dismissed(struct runner *r, const struct runner_cause *cause);
void do_give_up_clock(struct runner *r, const struct runner_cause *cause);
void do_be_deprecated(struct runner *r, const struct runner_cause *cause);
void do_be_taken(struct runner *r, const struct runner_cause *cause);

/* ---- runner_message.c ---- */
void do_take_job(struct runner *r, const struct runner_cause *cause);
void do_leave_job(struct runner *r, const struct runner_cause *cause);
void do_cancel(struct runner *r, const struct runner_cause *cause);
void do_shut_down(struct runner *r, const struct runner_cause *cause);
void do_migrate(struct runner *r, const struct runner_cause *cause);
void do_refresh_token(struct runner *r, const struct runner_cause *cause);
void do_learn_version(struct runner *r, const struct runner_cause *cause);
void do_pass_over(struct runner *r, const struct runner_cause *cause);

/* ---- runner_config.c ---- */
void do_refresh_config(struct runner *r, const struct runner_cause *cause);
void do_fall_back(struct runner *r, const struct runner_cause *cause);

/* ---- jobrun.c ---- */
void job_do_wait(struct jobrun *j, struct wh_error *err);
void job_do_acknowledge(struct jobrun *j, struct wh_error *err);
void job_do_acquire(struct jobrun *j, struct wh_error *err);
void job_do_renew(struct jobrun *j, struct wh_error *err);
void job_do_run(struct jobrun *j, struct wh_error *err);
void job_do_complete_canceled(struct jobrun *j, struct wh_error *err);
void job_do_complete_stopped(struct jobrun *j, struct wh_error *err);
void job_do_end_request(struct jobrun *j, struct wh_error *err);
void job_do_complete_failed(struct jobrun *j, struct wh_error *err);
void job_do_recover(struct jobrun *j, struct wh_error *err);
void job_do_complete_recovered(struct jobrun *j, struct wh_error *err);
void job_do_use_up(struct jobrun *j, struct wh_error *err);
void job_do_leave(struct jobrun *j, struct wh_error *err);
void job_do_leave_kept(struct jobrun *j, struct wh_error *err);
void job_do_leave_silently(struct jobrun *j, struct wh_error *err);
void job_do_leave_for_retry(struct jobrun *j, struct wh_error *err);
void job_do_note_cancel(struct jobrun *j, struct wh_error *err);
void job_do_note_stop(struct jobrun *j, struct wh_error *err);
void job_do_hurry(struct jobrun *j, struct wh_error *err);
void job_do_tell_worker(struct jobrun *j, struct wh_error *err);
void job_do_lose(struct jobrun *j, struct wh_error *err);
void job_do_kill(struct jobrun *j, struct wh_error *err);
void job_do_clean(struct jobrun *j, struct wh_error *err);
void job_do_end(struct jobrun *j, struct wh_error *err);

#endif
