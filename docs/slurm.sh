#!/bin/sh
# Training on two nodes of four GPUs each; its arguments are those of experiments.train.
#SBATCH --job-name=rendernet
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append

srun --kill-on-bad-exit=1 .venv/bin/python -m experiments.train "$@"
code=$?
# Time was up and the last step is saved: the same job goes on.
[ "$code" -ne 143 ] || scontrol requeue "$SLURM_JOB_ID"
exit "$code"
