"""Text of `compose --help`."""

TEXT = """\
compose generates images with diffusion models: it assembles the pipeline that you describe, and runs it.

  compose                                        an image with the checkpoint inside this package
  compose prompt="a red cone on sand" seed=7     your own words; commas, quotes and any alphabet as they are
  compose scheduler=euler steps=30 images=4      another sampler, four images with seeds 0 to 3
  compose task=img2img image=a.png strength=0.5  from an image; also variations, upscale, depth2img, outpaint
  compose task=inpaint image=a.png mask=m.png    repaint what is white in the mask; the rest stays to the byte
  compose task=unconditional                     no text at all
  compose model=sd15 device=cuda precision=fp16  a checkpoint from the hub, on a GPU
  compose model=local model.source=./my-model    any folder, hub id or .safetensors file

What can be set (`compose list` counts the options, `compose list GROUP` describes each in a line)
  groups       preset  model  task  scheduler  guidance  precision  device  memory  accel  callbacks  metric
               output  sweep  sheet
  of a task    prompt  negative_prompt  steps  guidance=7.5  seed  seed_step  images  height  width
  at once      batch=4 generates images=64 four at a time; batch=auto as many as memory should hold
  from an image   image  strength  mask  invert_mask  blur  match_tones  keep_unmasked  margins  depth  factor
                  (`sample:scene` comes along)
  of a model   model.components.vae=OWNER/NAME  model.refiner=OWNER/NAME  model.safety_checker=false  model.sha256=SUM
  too long     prompt_overflow=warn prints what of a prompt is truncated; error refuses; chunk encodes all of it
  files        output.folder=DIR is where a run's or a sweep's files go;
               otherwise outputs/DATE/TIME and outputs/sweeps/NAME

Sweeps (-m)
  steps=10,20  seed=range(8)  scheduler=glob(dpm*)     every combination; index.html in the sweep's folder shows all
  sweep.zip=[a,b]  sweep.jobs=FILE  sweep.where="…"  sweep.limit=N  sweep.batch=1  sweep.name=NAME
                            `compose list sweep` has all of them
  hydra/launcher=ray        the same on all devices of a machine or a cluster

Prompts
  prompt=@words.txt         the text of a file
  "(a:1.2)  <lora:…>  BREAK  {a|b}"  marks of other tools are read as plain text, and a note says so
  prompt_syntax=weights     reads (word:1.3), (word), [word] and BREAK
  prompt_syntax=dynamic     chooses from {a|b} and __name__ by the seed; [dynamic,weights] reads both
  "prompt=['one','two']"    several in one batch; seed_step=0 gives all the same seed
  seed=null  seed=-1        generate a seed and record it

Commands
  compose list [GROUP]              what there is to choose from; compose list scheduler model=sd15: what fits it
  compose show [OVERRIDES]          what the pipeline is made of, and the steps it will take; loads no weights
  compose check [OVERRIDES]         whether it can work, and nothing else; with -m, all jobs of a sweep
  compose config [OVERRIDES]        the composed config, and where each value comes from
  compose schema                    the JSON Schema of the config: options, keys, types, ranges, defaults
  compose rerun FILE [OVERRIDES]    generate an image, clip or sound again from its record; overrides make a variation
  compose info FILE                 what the record of an image, clip or sound says
  compose plan -m …                 what a sweep would run: jobs, groups, batches, memory
  compose resume DIR                go on with a sweep; the same command again does it too
  compose status DIR                how far a sweep is
  compose train lora data=DIR       teach a model from images with captions; the result is for lora=FILE. compose train
                                    textual_inversion data=DIR word=W makes a file for embedding=FILE
  compose serve [--host H] [--port N]   a service: OpenAI's images API, a queue, and a page to work in
  compose mcp [images=DIR]          the same queue as tools of an agent (MCP, by stdin and stdout), costs first
  compose models ls|find|pull|verify|rm [NAME]   models here and at the hub: sizes, licences, tasks, hashes
  compose outputs ls|du|rm [DIR]    what was generated; rm --older-than 30d --keep 100 dry_run=false removes
  compose clean [DIR] [older=7]     which outputs could go: by their days, or what is named; dry_run=false removes them
  compose cache ls|clear            converted weights and models that are kept for next time
  compose warm status|stop          the resident process of --warm
  compose plugins                   installed packages that bring options, and whether they load
  compose plugins new NAME [--kind task]   write such a package: callback, task, guidance, option,
                                    metric, tool or family
  compose doctor                    versions, devices, what works on them, caches
  compose completion SHELL          for bash, zsh or fish: eval "$(compose completion bash)"

Flags
  -m, --multirun            every combination of comma-separated values: compose -m scheduler=euler,ddim steps=10,20
  --warm                    in a process that stays and keeps the models: the next image comes without start-up
  -v, --verbose             show the logs of libraries, and tracebacks
  -q, --quiet               the names of the files and nothing else; errors are always printed
  --json                    the result of any command, or its error, as one line of JSON
  --trust                   with rerun: use models and files that the record names wherever they are
  --config-dir DIR          option files of your own, found before composer's
  --version

Exit codes: 0 done, 1 a run failed or a rerun is not the same, 2 the request can't be met,
3 another process holds the lock, 130 interrupted.
"""
