"""Sounds: Stable Audio, AudioLDM 2, ACE-Step, LongCat's audio."""

from __future__ import annotations

from typing import Any

import diffusers as d
from transformers import (
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    GPT2Config,
    GPT2LMHeadModel,
    Qwen3Model,
    RobertaTokenizer,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
    T5Tokenizer,
)

from composer.testing import parts
from composer.tiny.tokenizer import bytes_to_unicode
from zoo.entry import arguments, audio
from zoo.flow_images import FlowEuler
from zoo.text import VOCABULARY, qwen3, qwen_tokenizer, umt5


def oobleck(latents: int) -> d.AutoencoderOobleck:
    return d.AutoencoderOobleck(
        encoder_hidden_size=6, downsampling_ratios=[1, 2], decoder_channels=3, decoder_input_channels=latents,
        audio_channels=2, channel_multiples=[2, 4], sampling_rate=16,
    )  # fmt: skip


def stable_audio() -> d.StableAudioPipeline:
    from diffusers.pipelines.stable_audio import StableAudioProjectionModel

    return d.StableAudioPipeline(
        vae=oobleck(4), text_encoder=parts.t5(32), tokenizer=parts.t5_tokenizer(),
        scheduler=d.EDMDPMSolverMultistepScheduler(prediction_type="v_prediction", sigma_data=1.0,
            sigma_schedule="exponential"),
        projection_model=StableAudioProjectionModel(text_encoder_dim=32, conditioning_dim=8, min_value=0, max_value=32),
        transformer=d.StableAudioDiTModel(
            sample_size=16, in_channels=4, num_layers=2, attention_head_dim=8, num_key_value_attention_heads=2,
            out_channels=4, num_attention_heads=2, cross_attention_dim=8, time_proj_dim=8, global_states_input_dim=16,
            cross_attention_input_dim=8,
        ),
    )  # fmt: skip


def ace_step() -> d.AceStepPipeline:
    from diffusers.pipelines.ace_step import (
        AceStepAudioTokenDetokenizer,
        AceStepAudioTokenizer,
        AceStepConditionEncoder,
    )

    shared: dict[str, Any] = {
        "hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
        "sliding_window": 16,
    }  # fmt: skip
    pooled = shared | {"audio_acoustic_hidden_dim": 8, "pool_window_size": 2, "num_attention_pooler_hidden_layers": 1}
    return d.AceStepPipeline(
        vae=oobleck(8), text_encoder=qwen3(Qwen3Model, width=32), tokenizer=qwen_tokenizer(),
        scheduler=FlowEuler(num_train_timesteps=1, shift=1.0),
        transformer=d.AceStepTransformer1DModel(
            **shared, num_hidden_layers=2, in_channels=24, audio_acoustic_hidden_dim=8, patch_size=2
        ),
        condition_encoder=AceStepConditionEncoder(
            **shared, text_hidden_dim=32, timbre_hidden_dim=8, num_lyric_encoder_hidden_layers=1,
            num_timbre_encoder_hidden_layers=1
        ),
        audio_tokenizer=AceStepAudioTokenizer(**pooled, fsq_dim=32, fsq_input_levels=[4, 4, 4],
            fsq_input_num_quantizers=1),
        audio_token_detokenizer=AceStepAudioTokenDetokenizer(**pooled),
    )  # fmt: skip


def longcat_audio() -> d.LongCatAudioDiTPipeline:
    return d.LongCatAudioDiTPipeline(
        tokenizer=qwen_tokenizer(), text_encoder=umt5(),
        vae=d.LongCatAudioDiTVae(
            in_channels=1, channels=16, c_mults=[1, 2], strides=[2], latent_dim=8, encoder_latent_dim=16,
            downsampling_ratio=2, sample_rate=24000,
        ),
        transformer=d.LongCatAudioDiTTransformer(dit_dim=32, dit_depth=2, dit_heads=4, dit_text_dim=32, latent_dim=8,
            text_conv=False),
    )  # fmt: skip


def roberta_tokenizer() -> RobertaTokenizer:
    vocabulary = {token: i for i, token in enumerate(("<s>", "<pad>", "</s>", "<unk>", "<mask>", *bytes_to_unicode()))}
    return RobertaTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def t5_tokenizer() -> T5Tokenizer:
    """Of the class by which AudioLDM 2 recognises what reads its prompt."""
    letters = ("\u2581", *map(chr, range(33, 127)))
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((letter, -4.0) for letter in letters)]
    return T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=48)


def audioldm2() -> d.AudioLDM2Pipeline:
    from diffusers.pipelines.audioldm2 import AudioLDM2ProjectionModel, AudioLDM2UNet2DConditionModel

    text = {
        "hidden_size": 8, "intermediate_size": 37, "num_attention_heads": 1, "num_hidden_layers": 1,
        "vocab_size": VOCABULARY, "projection_dim": 8,
    }  # fmt: skip
    sound = {
        "spec_size": 8, "window_size": 4, "num_mel_bins": 8, "intermediate_size": 37, "depths": [1, 1],
        "num_attention_heads": [1, 1], "num_hidden_layers": 1, "hidden_size": 192, "projection_dim": 8, "patch_size": 2,
        "patch_stride": 2, "patch_embed_input_channels": 4,
    }  # fmt: skip
    language = GPT2LMHeadModel(GPT2Config(n_embd=16, n_head=1, n_layer=1, vocab_size=VOCABULARY, n_positions=99))
    language.config.max_new_tokens = 4
    return d.AudioLDM2Pipeline(
        vae=d.AutoencoderKL(
            block_out_channels=(8, 16), in_channels=1, out_channels=1, norm_num_groups=8,
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4,
        ),
        text_encoder=ClapModel(ClapConfig(text_config=text, audio_config=sound, projection_dim=16)),
        text_encoder_2=parts.t5(32),
        projection_model=AudioLDM2ProjectionModel(text_encoder_dim=16, text_encoder_1_dim=32, langauge_model_dim=16),
        language_model=language, tokenizer=roberta_tokenizer(), tokenizer_2=t5_tokenizer(),
        feature_extractor=ClapFeatureExtractor(hop_length=7900),
        unet=AudioLDM2UNet2DConditionModel(
            block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=8, sample_size=32,
            cross_attention_dim=((None, 16, 32),) * 2,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        ),
        scheduler=d.DDIMScheduler(beta_start=0.00085, beta_end=0.012, clip_sample=False, set_alpha_to_one=False),
        vocoder=SpeechT5HifiGan(
            SpeechT5HifiGanConfig(
                model_in_dim=8, upsample_initial_channel=16, upsample_rates=[2, 2], upsample_kernel_sizes=[4, 4],
                resblock_kernel_sizes=[3, 7], resblock_dilation_sizes=[[1, 3, 5], [1, 3, 5]], normalize_before=False,
            )
        ),
    )  # fmt: skip


ENTRIES = {
    "stable_audio": audio(stable_audio, arguments(prompt="a hammer", audio_end_in_s=1.5, output_type="np")),
    "ace_step": audio(
        ace_step,
        arguments(prompt="a piano", lyrics="soft notes", audio_duration=0.4, max_text_length=32, output_type="np"),
    ),
    "longcat_audio": audio(longcat_audio, arguments(prompt="waves", audio_duration_s=0.1, output_type="np")),
    "audioldm2": audio(
        audioldm2, arguments(prompt="a hammer", negative_prompt="bad", audio_length_in_s=0.05, output_type="np")
    ),
}
