#!/usr/bin/env bash
# Reinforcement learning: the same curve on any number of threads, after stops and kills; environments of one's own; bad asks.
. "$(dirname "$0")/common.sh"
source=$(cd "$(dirname "$0")/../.." && pwd)

cd "$work" || exit 1
cc=${CC:-cc}
small=(--set hidden_dim=8 --set state_dim=4 --set envs=4 --set horizon=32 --set sequence=8 --set batch=32 --set epochs=2 --save-every 1 --episodes 4 --quiet)
recipe=(--recipe pendulum --set hidden_dim=8 --set state_dim=4 --set envs=2 --set horizon=16 --set sequence=8 --episodes 0 --quiet)
jamba=(--set hidden_dim=8 --set num_heads=2 --set num_layers=2 --set mamba_ratio=1 --set window=8 --set envs=4 --set horizon=32 --set sequence=8 --set batch=32 --set epochs=2 --episodes 0 --quiet)
same() { cmp "$1/last.safetensors" "$2/last.safetensors" && cmp <(cut -d, -f1-13 "$1/metrics.csv") <(cut -d, -f1-13 "$2/metrics.csv") || fail "$1 and $2 differ: $3"; }

# threads
"$dhcc" rl rl_ssm_policy --env pendulum --steps 1024 "${small[@]}" --threads 1 --out a > said || fail "rl"
grep -q '^seed 0: 1024 steps, 4 episodes' said && grep -q '^seed 0: likeliest actions, 4 episodes: return -' said || fail "$(cat said)"
[ "$(wc -l < a/metrics.csv)" = 9 ] || fail "rows: $(cat a/metrics.csv)"
"$dhcc" rl rl_ssm_policy --env pendulum --steps 1024 "${small[@]}" --threads 2 --out b > /dev/null && same a b threads

"$dhcc" rl rl_ssm_policy --env pendulum --steps 32 "${recipe[@]}" --out r > /dev/null && grep -q 'gamma=0.9699' r/config.json || fail "a recipe of PPO for a policy"
expect 1 "PPO has no preset 'small'" "$dhcc" rl rl_ssm_policy --env pendulum --steps 32 "${recipe[@]}" --preset small

expect 0 "gamma                0.97  # recipe pendulum: of no paper: a swing up takes fifty steps" "$dhcc" rl rl_ssm_policy --env pendulum --recipe pendulum --print-recipe
expect 0 "clip_range           0.2  # default: of the ratio of probabilities; Schulman et al. (2017), table 3" "$dhcc" rl rl_ssm_policy --env pendulum --print-recipe
expect 0 "batch                256  # recipe pendulum" "$dhcc" rl "$source/bench/studies/policies.dhc" --recipe pendulum --env pendulum --print-recipe
"$dhcc" rl rl_policy --env pendulum --set batch=64 --set optimizer.eps=1e-8 --print-recipe --json | python3 -c 'import json, sys
r = json.load(sys.stdin)["recipe"]
f = r.pop("from")
assert set(f) == set(r) - {"recipe"} and not {k for k in f if f[k] in ("default", "recipe default", "default of all recipes")}, f
assert f["batch"] == f["eps"] == "--set" and "OpenAI Baselines" in f["beta1"] and f["lr"].startswith("recipe default: Schulman"), f' || fail "a setting without its source"
critic='groups={ "critic.*" = { loss = value_loss, optimizer = sgd(momentum = 0.9), lr = 3.0 } }'
expect 0 'groups               critic.* { loss=value_loss optimizer=sgd lr=3' "$dhcc" rl rl_policy --env pendulum --set "$critic" --print-recipe
"$dhcc" rl rl_policy --env pendulum --steps 32 --set "$critic" --set envs=2 --set horizon=16 --episodes 0 --quiet --out of_critic > /dev/null || fail "a critic by its own loss"
expect 1 'this asks for lr.0' "$dhcc" rl rl_policy --env pendulum --steps 32 --set envs=2 --set horizon=16 --episodes 0 --quiet --out of_critic --resume
expect 0 "entropy_weight       0.01  # --set" "$dhcc" rl rl_policy --env pendulum --set entropy_weight=0.01 --print-recipe
"$dhcc" rl rl_ssm_policy --env pendulum --steps 4096 --recipe pendulum --set gamma=0.5 --print-recipe --json | python3 -c 'import json, sys; r = json.load(sys.stdin)["recipe"]; assert r["gamma"] == 0.5 and r["lr at the end"] == 5e-4 and r["obs"] == "3" and "pendulum" == r["recipe"], r' || fail "a recipe as JSON"
"$dhcc" plot a | grep -q '^return' || fail "a policy's curve: $("$dhcc" plot a)"

# stopped, and killed: the same bytes
DHC_STOP_AT_POLL=6 "$dhcc" rl rl_ssm_policy --env pendulum --steps 1024 "${small[@]}" --out c > said 2>&1
[ $? = 130 ] && grep -q "stopped at step .*, checkpoint in c; go on with --resume" said || fail "a stop: $(cat said)"
"$dhcc" rl rl_ssm_policy --env pendulum --steps 1024 "${small[@]}" --out c --resume > /dev/null && same a c stopped
for i in 1 2 3 4 5 6; do
  wait=0.$(printf %03d $((20 + RANDOM % 200)))
  waits="${waits:-} $wait"
  "$dhcc" rl rl_ssm_policy --env pendulum --steps 1024 "${small[@]}" --out k --resume > /dev/null 2>&1 &
  sleep "$wait"
  kill -9 $! 2> /dev/null
  wait $! 2> /dev/null
done
mkdir -p k
"$dhcc" rl rl_ssm_policy --env pendulum --steps 1024 "${small[@]}" --out k --resume > /dev/null 2>&1 && same a k "killed after$waits"
expect 1 "a/checkpoint-000001024.safetensors: the run has seed=0, this asks for seed=3" "$dhcc" rl rl_ssm_policy --env pendulum --steps 1024 "${small[@]}" --out a --resume --seed 3
expect 1 "a: holds a run already" "$dhcc" rl rl_ssm_policy --env pendulum --steps 1024 "${small[@]}" --out a
expect 2 "--resume needs --out DIR" "$dhcc" rl rl_ssm_policy --env pendulum --steps 64 "${small[@]}" --resume

# a run's folder says what it is of
DHC_STOP_AT_POLL=6 "$dhcc" rl rl_ssm_policy --env pendulum --steps 1024 "${small[@]}" --env-set gravity=9.81 --env-set observation_noise=0.1 --seed 7 --out f > /dev/null 2>&1
"$dhcc" rl rl_ssm_policy --env pendulum --steps 1024 "${small[@]}" --env-set gravity=9.81 --env-set observation_noise=0.1 --seed 7 --out g > /dev/null
"$dhcc" rl f --resume --quiet > /dev/null && same f g "a folder alone"
"$dhcc" rl g --resume --episodes 4 --quiet | tail -1 > said && "$dhcc" rl g --eval --seed 7 --episodes 4 --quiet | diff said - || fail "evaluation of a folder"
cmp -s a/last.safetensors g/last.safetensors && fail "settings of an environment change nothing"
expect 1 "the run has env.gravity=9.81, this asks for env.gravity=3" "$dhcc" rl f --resume --env-set gravity=3
expect 2 "--eval and --resume exclude each other" "$dhcc" rl f --resume --eval
expect 2 "--eval needs weights: the folder of a run for MODEL, or --weights FILE" "$dhcc" rl rl_ssm_policy --env pendulum --eval
expect 2 "weights are evaluated (--eval), not trained on: --steps goes with a model, or with --resume of a run" "$dhcc" rl f --steps 64
expect 2 "--render: is of an evaluation, and --episodes 0 makes none" "$dhcc" rl f --render p --episodes 0

# pictures
"$dhcc" rl g --eval --episodes 1 --render p/q --quiet > /dev/null && python3 - <<'P' || fail "a picture"
import struct
b = open("p/q/episode.png", "rb").read()
assert b[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">II", b[16:24]) == (1600, 120), b[:32]
P

# a policy whose states are caches and recurrences; seeds
"$dhcc" rl rl_policy --env pendulum --steps 256 "${jamba[@]}" --seeds 0..1 --out j --json > doc || fail "a Jamba policy: $(cat doc)"
python3 - <<'P' || fail "$(cat doc)"
import json
d = json.load(open("doc"))
assert d["steps"] == 256 and len(d["return_per_seed"]) == 2 and d["steps_per_s"] > 0 and "mean_return" in d, d
P
grep -qa 'window = 8, dropout = 0.0)' j/seed-0/model.dhcm || fail "a policy's dropout"
[ -s j/seed-0/last.safetensors ] && [ -s j/seed-1/last.safetensors ] || fail "folders of seeds"
"$dhcc" rl rl_ssm_policy --env pendulum "${small[@]}" --weights a --episodes 4 > said || fail "evaluation"
grep -q "return $(grep -o 'return -[0-9.]*' <("$dhcc" rl rl_ssm_policy --env pendulum --steps 1024 "${small[@]}" --out a --resume | tail -1) | cut -d' ' -f2)" said || fail "weights evaluated: $(cat said)"

# one's own
"$cc" -shared -fPIC -I "$source/include" "$source/examples/env/mass.c" -o mass.so || fail "mass.c"
"$dhcc" rl rl_ssm_policy --env ./mass.so --steps 256 "${small[@]}" | grep -q '^seed 0: 256 steps' || fail "mass"
sed 's/DHC_ENV_VERSION, "mass"/7, "mass"/' "$source/examples/env/mass.c" > v.c && "$cc" -shared -fPIC -I "$source/include" v.c -o v.so
expect 1 "environment ./v.so: is for version 7 of dhc/env.h, this is version 2" "$dhcc" rl rl_ssm_policy --env ./v.so --steps 64
sed 's/return &functions/return 0/' "$source/examples/env/mass.c" > v.c && "$cc" -shared -fPIC -I "$source/include" v.c -o n.so
expect 1 "environment ./n.so: dhc_env gave nothing" "$dhcc" rl rl_ssm_policy --env ./n.so --steps 64
sed 's/.max_steps = 100/.max_steps = 0/' "$source/examples/env/mass.c" > v.c && "$cc" -shared -fPIC -I "$source/include" v.c -o z.so
expect 1 "environment mass: its sizes or action ranges make no sense" "$dhcc" rl rl_ssm_policy --env ./z.so --steps 64
echo 'int x;' > v.c && "$cc" -shared -fPIC v.c -o e.so
expect 1 "environment ./e.so: has no function 'dhc_env' (include/dhc/env.h)" "$dhcc" rl rl_ssm_policy --env ./e.so --steps 64
expect 1 "environment ./none.so: " "$dhcc" rl rl_ssm_policy --env ./none.so --steps 64

expect 1 "environment mass: has no settings" "$dhcc" rl rl_ssm_policy --env ./mass.so --steps 64 --env-set gravity=1
expect 1 "environment mass: has no pictures of itself" "$dhcc" rl rl_ssm_policy --env ./mass.so --steps 64 "${small[@]}" --render p
sed 's/step, save, load, NULL}/step, save, load, draw}/; s/^static void save/static bool draw(void *env, int32_t w, int32_t h, unsigned char *to, char *error, size_t room) { (void)env; (void)w; (void)h; (void)to; snprintf(error, room, "it is dark"); return false; }\n&/' "$source/examples/env/mass.c" > v.c && "$cc" -shared -fPIC -I "$source/include" v.c -o d.so
expect 3 "environment mass: no picture: it is dark" "$dhcc" rl rl_ssm_policy --env ./d.so --steps 64 "${small[@]}" --render p

# bad asks
for set in gravity gravity=x =3 gravity=nan; do expect 2 "--env-set $set: needs NAME=NUMBER" "$dhcc" rl rl_ssm_policy --env pendulum --steps 64 --env-set "$set" "${small[@]}"; done
expect 2 "--env-set observation_noise=-1: a standard deviation is at least 0" "$dhcc" rl rl_ssm_policy --env pendulum --steps 64 --env-set observation_noise=-1 "${small[@]}"
expect 1 "environment pendulum: has no setting 'friction': there are observation_noise, gravity, mass, length, dt" "$dhcc" rl rl_ssm_policy --env pendulum --steps 64 --env-set friction=1 "${small[@]}"
expect 1 "environment pendulum: setting 'mass' must be above 0" "$dhcc" rl rl_ssm_policy --env pendulum --steps 64 --env-set mass=0 "${small[@]}"
mapfile -t many < <(for i in $(seq 33); do echo "--env-set"; echo "gravity=$i"; done)
expect 2 "more than 32 settings of an environment" "$dhcc" rl rl_ssm_policy --env pendulum --steps 64 "${many[@]}" "${small[@]}"
expect 2 "--backend interp: reinforcement learning runs on cpu and cuda" "$dhcc" rl rl_ssm_policy --env pendulum --steps 64 --backend interp "${small[@]}"
expect 1 "no environment 'ant': there are pendulum, halfcheetah, hopper, walker2d, or a file ./NAME.so of your own (include/dhc/env.h)" "$dhcc" rl rl_ssm_policy --env ant --steps 64
expect 2 "rl needs --env NAME: pendulum, halfcheetah, hopper, walker2d, or a file ./NAME.so of your own" "$dhcc" rl rl_ssm_policy --steps 64
expect 2 "rl needs --steps N, of the environments in all (or --weights FILE, which is evaluated)" "$dhcc" rl rl_ssm_policy --env pendulum
expect 2 '--seeds: needs up to 1000 whole numbers, 0,1,2 or 0..4, got "0,x"' "$dhcc" rl rl_ssm_policy --env pendulum --steps 64 --seeds 0,x
expect 2 "--set obs: comes from the environment" "$dhcc" rl rl_ssm_policy --env pendulum --steps 64 --set obs=3
expect 1 "recipe: sequence = 5 does not divide horizon = 32" "$dhcc" rl rl_ssm_policy --env pendulum --steps 64 --set horizon=32 --set sequence=5
expect 1 "gamma must be in 0..1, got 2.0" "$dhcc" rl rl_ssm_policy --env pendulum --steps 64 --set gamma=2.0
expect 1 "envs must be a whole number, got 2.5" "$dhcc" rl rl_ssm_policy --env pendulum --steps 64 --set envs=2.5
expect 1 "model MLP has neither entries act, value and update nor forward and sequence of a policy (docs/rl.md)" "$dhcc" rl mlp --env pendulum --steps 64
expect 1 "a/checkpoint-000001024.safetensors: was made for another model" "$dhcc" rl rl_ssm_policy --env pendulum --steps 1024 "${small[@]}" --set hidden_dim=16 --out a --resume
"$dhcc" train seq --data synth:copy:length=8 --set vocabulary=64 --steps 1 --batch 2 --out t --quiet || fail "train"
expect 1 "is no checkpoint of reinforcement learning" "$dhcc" rl rl_ssm_policy --env pendulum --steps 1024 "${small[@]}" --out t --resume

# a policy as a control loop, its observations' statistics inside
"$dhcc" build a --entry step --bind B=1 -o step.o --header step.h --quiet || fail "build of a policy"
grep -q step step.h && grep -qa obs_mean a/last.safetensors || fail "step of a policy"
"$dhcc" build a --entry step --bind B=1 --name policy -o policy.o --header policy.h --quiet && "$cc" -Wall -Wextra -Werror -O2 -I . "$source/examples/control/control.c" policy.o -lm -o control || fail "examples/control"
./control 0.1 > said && grep -Eq '^100 calls at 1000 Hz.*: half within [0-9.]+ us, 99.9 % within [0-9.]+ us, the longest [0-9.]+ us$' said && grep -q '^at the end' said || fail "control: $(cat said)"
DHC_MUJOCO=./e.so expect 3 "environment hopper: the library that was found is not MuJoCo 4.0.0: it has no mj_version" "$dhcc" rl rl_ssm_policy --env hopper --steps 64
DHC_MUJOCO=./none.so expect 3 "environment hopper: DHC_MUJOCO: " "$dhcc" rl rl_ssm_policy --env hopper --steps 64
cat > v.c <<'C'
int mj_version(void) { return 3003005; }
const char *mj_versionString(void) { return "3.3.5"; }
C
"$cc" -shared -fPIC v.c -o old.so
DHC_MUJOCO=./old.so expect 3 "environment hopper: needs MuJoCo 4.0.0, this library is 3.3.5" "$dhcc" rl rl_ssm_policy --env hopper --steps 64

expect 130 "stopped in evaluation" env DHC_STOP_AT_POLL=12 "$dhcc" rl rl_ssm_policy --env pendulum --steps 1024 "${small[@]}"

# a policy of one's own, and entries that do not do
printf 'layer Still(obs: int = 3, act: int = 1) {\n  forward<B>(x: [B, obs], reset: bool[B] = zeros()) -> (y: [B, act]) { return x[:, 0:1] }\n  sequence<B, L>(x: [B, L, obs], reset: bool[B, L] = zeros()) -> (y: [B, L, act]) { return x[:, :, 0:1] }\n}\n' > still.dhc
expect 1 "model Still is a policy of a file of its own: a model of yours imports rl/ppo and takes it in (docs/rl.md, Models)" "$dhcc" rl still.dhc --root Still --env pendulum --steps 64
cat > own.dhc <<'M'
import rl/ppo
model Own(obs: int = 3, act: int = 1) {
  ppo = PPO(obs, act, policy = RLSSMPolicy(hidden_dim = 8, state_dim = 4))
  act<B>(obs: [B, self.obs], reset: bool[B], noise: [B, self.act]) -> (action: [B, self.act], logp: [B]) { a, l = ppo.act(obs, reset, noise)
    return a, l }
  value<B>(obs: [B, self.obs]) -> (value: [B]) { return ppo.value(obs) }
  update<B, L>(obs: [B, L, self.obs], reset: bool[B, L], action: [B, L, self.act], logp: [B, L], value: [B, L], advantage: [B, L],
               returns: [B, L]) -> (loss: []) {
    l, p, v, e, k, c = ppo.update(obs, reset, action, logp, value, advantage, returns)
    return l
  }
}
M
tiny=(--set envs=4 --set horizon=16 --set sequence=8 --set batch=16 --set epochs=1 --episodes 0 --quiet)
"$dhcc" rl own.dhc --env pendulum --steps 128 "${tiny[@]}" | grep -q '^seed 0: 128 steps' || fail "a model of one's own"
sed 's/(action: \[B, self.act\], logp: \[B\])/(action: [B, self.act], log: [B])/' own.dhc > bad.dhc
expect 1 "entry 'act' must give action: [B, 1] and logp: [B] (docs/rl.md)" "$dhcc" rl bad.dhc --env pendulum --steps 128 "${tiny[@]}"
sed 's/(value: \[B\])/(v: [B])/' own.dhc > bad.dhc
expect 1 "entry 'value' must give value: [B] (docs/rl.md)" "$dhcc" rl bad.dhc --env pendulum --steps 128 "${tiny[@]}"
sed 's/a, l = ppo.act(obs, reset, noise)/a, l = 0.0 * action_of(obs), sum(0.0 * obs, axis = -1)/; s/^model Own/fn action_of<B, O>(x: [B, O]) -> (y: [B, 1]) { return x[:, 0:1] }\nmodel Own/' own.dhc > bad.dhc
expect 1 "model Own: entries 'act' and 'update' must carry the same states (docs/rl.md)" "$dhcc" rl bad.dhc --env pendulum --steps 128 "${tiny[@]}"
sed 's/    return l$/    return l \/ 0.0/' own.dhc > bad.dhc
expect 4 "update 0: loss inf or a gradient is not finite" "$dhcc" rl bad.dhc --env pendulum --steps 128 "${tiny[@]}"
cat > bad.dhc <<'M'
import rl/ppo
layer Odd(obs: int, act: int) {
  param w: [act, obs] = zeros()
  state seen: [2] = zeros()
  forward<B>(x: [B, obs], reset: bool[B] = zeros()) -> (y: [B, act]) {
    seen = self.seen + 1.0
    return x @ w.T + 0.0 * sum(seen)
  }
  sequence<B, L>(x: [B, L, obs], reset: bool[B, L] = zeros()) -> (y: [B, L, act]) {
    seen = self.seen + 1.0
    return x @ w.T + 0.0 * sum(seen)
  }
}
model Own(obs: int = 3, act: int = 1) {
  ppo = PPO(obs, act, policy = Odd)
M
sed -n '/^  act</,$p' own.dhc >> bad.dhc
expect 1 "state 'ppo.actor.seen' has no axis of environments in front, which reinforcement learning needs" "$dhcc" rl bad.dhc --env pendulum --steps 128 "${tiny[@]}"
long=$(printf 'a%.0s' {1..4200})
expect 2 "--out: the name is too long" "$dhcc" rl own.dhc --env pendulum --steps 128 "${tiny[@]}" --seeds 0,1 --out "$long"
finish
