"""Writes random vision models of a few thousand weights, one for each family, as folders like those of a model hub.

Each folder has the files, special tokens, processors and chat template rules of its real family, and mlx-vlm loads it
offline and without PyTorch. Each byte is a token. Only printable ASCII is ever generated, because all other rows of the
head are small. The weights have a large spread, so that the answers to a red and a blue image differ.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_vlm.utils import get_model_and_args, update_module_configs
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
TEXT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "intermediate_size": 64,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "rms_norm_eps": 1e-6,
    "max_position_embeddings": 4096,
}

QWEN_TEMPLATE = """\
{%- for message in messages %}
    {%- if loop.first and message.role != 'system' and default_system %}
        {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
    {%- endif %}
    {{- '<|im_start|>' + message.role + '\\n' }}
    {%- if message.content is string %}
        {{- message.content }}
    {%- else %}
        {%- for content in message.content %}
            {%- if content.type == 'image' or 'image' in content or 'image_url' in content %}
                {{- '<|vision_start|><|image_pad|><|vision_end|>' }}
            {%- elif content.type == 'video' or 'video' in content %}
                {{- '<|vision_start|><|video_pad|><|vision_end|>' }}
            {%- elif 'text' in content %}
                {{- content.text }}
            {%- endif %}
        {%- endfor %}
    {%- endif %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
QWEN2_TEMPLATE = "{%- set default_system = true %}\n" + QWEN_TEMPLATE
GEMMA3_TEMPLATE = """\
{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set first_user_prefix = messages[0]['content'] + '\\n\\n' -%}
    {%- else -%}
        {%- set first_user_prefix = messages[0]['content'][0]['text'] + '\\n\\n' -%}
    {%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") }}
    {%- endif -%}
    {%- set role = "model" if message['role'] == 'assistant' else message['role'] -%}
    {{ '<start_of_turn>' + role + '\\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}
                {{ '<start_of_image>' }}
            {%- elif item['type'] == 'text' -%}
                {{ item['text'] | trim }}
            {%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception("Invalid content type") }}
    {%- endif -%}
    {{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{ '<start_of_turn>model\\n' }}
{%- endif -%}
"""
# A string is not rendered: the template searches its characters for parts.
LLAVA_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] != 'system' %}{{ message['role'].upper() + ': ' }}{% endif %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\\n' }}{% endfor %}"
    "{% if message['role'] != 'assistant' %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' ' }}"
    "{% endfor %}"
    "{% else %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{% generation %}{{ content['text'] + ' ' }}{% endgeneration %}{% endfor %}"
    "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
# A string is not rendered: each of its characters is a line without a type.
SMOLVLM_TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
    "{% if message['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}"
    "{% for line in message['content'] %}"
    "{% if line['type'] == 'text' %}{{ line['text'] }}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}"
    "{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
MISTRAL3_TEMPLATE = """\
{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- if messages[0]['content'] is string %}
        {%- set system_message = messages[0]['content'] %}
    {%- else %}
        {%- set system_message = messages[0]['content'][0]['text'] %}
    {%- endif %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set system_message = 'You are a small model.' %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- '[SYSTEM_PROMPT]' + system_message + '[/SYSTEM_PROMPT]' }}
{%- for message in loop_messages %}
    {%- if message['role'] == 'user' %}
        {%- if message['content'] is string %}
            {{- '[INST]' + message['content'] + '[/INST]' }}
        {%- else %}
            {{- '[INST]' }}
            {%- for block in message['content'] %}
                {%- if block['type'] == 'text' %}
                    {{- block['text'] }}
                {%- elif block['type'] in ['image', 'image_url'] %}
                    {{- '[IMG]' }}
                {%- else %}
                    {{- raise_exception('Only text and image blocks are supported in message content!') }}
                {%- endif %}
            {%- endfor %}
            {{- '[/INST]' }}
        {%- endif %}
    {%- elif message['role'] == 'system' %}
        {%- if message['content'] is string %}
            {{- '[SYSTEM_PROMPT]' + message['content'] + '[/SYSTEM_PROMPT]' }}
        {%- else %}
            {{- '[SYSTEM_PROMPT]' + message['content'][0]['text'] + '[/SYSTEM_PROMPT]' }}
        {%- endif %}
    {%- elif message['role'] == 'assistant' %}
        {%- if message['content'] is string %}
            {{- message['content'] + eos_token }}
        {%- else %}
            {{- message['content'][0]['text'] + eos_token }}
        {%- endif %}
    {%- else %}
        {{- raise_exception('Only user, system and assistant roles are supported!') }}
    {%- endif %}
{%- endfor %}
"""
PIXTRAL_TEMPLATE = """\
{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('After the optional system message, conversation roles must alternate') }}
    {%- endif %}
    {%- if message["role"] == "user" %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST]" + system_message + "\\n\\n" }}
        {%- else %}
            {{- "[INST]" }}
        {%- endif %}
        {%- if message["content"] is not string %}
            {%- for chunk in message["content"] %}
                {%- if chunk["type"] == "text" %}
                    {{- chunk["content"] if "content" in chunk else chunk["text"] }}
                {%- elif chunk["type"] == "image" %}
                    {{- "[IMG]" }}
                {%- else %}
                    {{- raise_exception("Unrecognized content type!") }}
                {%- endif %}
            {%- endfor %}
        {%- else %}
            {{- message["content"] }}
        {%- endif %}
        {{- "[/INST]" }}
    {%- elif message["role"] == "assistant" %}
        {%- if message["content"] is not string %}
            {%- for chunk in message["content"] %}
                {{- chunk["content"] if "content" in chunk else chunk["text"] }}
            {%- endfor %}
            {{- eos_token }}
        {%- else %}
            {{- message["content"] + eos_token }}
        {%- endif %}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported, with the exception of an initial system") }}
    {%- endif %}
{%- endfor %}
"""

# Parts other than images and texts are printed as JSON.
LFM2_TEMPLATE = """\
{{- bos_token -}}
{%- for message in messages -%}
    {{- "<|im_start|>" + message["role"] + "\\n" -}}
    {%- set content = message["content"] -%}
    {%- if content is not string -%}
        {%- set ns = namespace(content="") -%}
        {%- for item in content -%}
            {%- if item["type"] == "image" -%}
                {%- set ns.content = ns.content + "<image>" -%}
            {%- elif item["type"] == "text" -%}
                {%- set ns.content = ns.content + item["text"] -%}
            {%- else -%}
                {%- set ns.content = ns.content + item | tojson -%}
            {%- endif -%}
        {%- endfor -%}
        {%- set content = ns.content -%}
    {%- endif -%}
    {{- content + "<|im_end|>\\n" -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- "<|im_start|>assistant\\n" -}}
{%- endif -%}
"""
GEMMA4_TEMPLATE = """\
{{- bos_token -}}
{%- for message in messages -%}
    {%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}
    {{- '<|turn>' + role + '\\n' -}}
    {%- if message['content'] is string -%}
        {{- message['content'] | trim -}}
    {%- elif message['content'] is sequence -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'text' -%}
                {{- item['text'] | trim -}}
            {%- elif item['type'] == 'image' -%}
                {{- '\\n\\n<|image|>\\n\\n' -}}
            {%- elif item['type'] == 'video' -%}
                {{- '\\n\\n<|video|>\\n\\n' -}}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
    {{- '<turn|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|turn>model\\n' -}}
{%- endif -%}
"""

Json = dict[str, Any]
Ids = dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    """The content of a folder of this family. `files` are JSON files besides the config and the tokenizer."""

    config: Callable[[Ids], Json]
    special: tuple[str, ...]
    pad: str
    end: str
    begin: str | None = None
    adds_begin: bool = False  # the tokenizer adds `begin` to each text by default
    named_tokens: tuple[tuple[str, str], ...] = ()
    template: str
    template_file: str = "chat_template.jinja"
    files: tuple[tuple[str, Json], ...]


def _qwen2_5_vl(ids: Ids) -> Json:
    return {
        "model_type": "qwen2_5_vl",
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        **TEXT,
        **_qwen_ids(ids),
        "rope_theta": 10000.0,
        "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
        "tie_word_embeddings": False,
        "vision_config": {
            "model_type": "qwen2_5_vl",
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "out_hidden_size": 32,
            "num_heads": 2,
            "patch_size": 8,
            "spatial_patch_size": 8,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 32,
            "fullatt_block_indexes": [1],
            "in_chans": 3,
        },
    }


def _qwen3_vl(ids: Ids) -> Json:
    return {
        "model_type": "qwen3_vl",
        "architectures": ["Qwen3VLForConditionalGeneration"],
        **_qwen_ids(ids),
        "tie_word_embeddings": False,
        "text_config": {
            **TEXT,
            "model_type": "qwen3_vl_text",
            "num_hidden_layers": 3,
            "head_dim": 16,
            "vocab_size": len(ids),
            "rope_theta": 10000.0,
            "rope_scaling": {"rope_type": "default", "mrope_section": [4, 2, 2], "mrope_interleaved": True},
            "tie_word_embeddings": False,
        },
        "vision_config": {
            "model_type": "qwen3_vl",
            "depth": 3,
            "hidden_size": 32,
            "intermediate_size": 64,
            "out_hidden_size": 32,
            "num_heads": 2,
            "patch_size": 8,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "in_channels": 3,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1],
        },
    }


def _gemma3(ids: Ids) -> Json:
    return {
        "model_type": "gemma3",
        "architectures": ["Gemma3ForConditionalGeneration"],
        "image_token_index": ids["<image_soft_token>"],
        "boi_token_index": ids["<start_of_image>"],
        "eoi_token_index": ids["<end_of_image>"],
        "eos_token_id": [ids["<eos>"], ids["<end_of_turn>"]],
        "pad_token_id": ids["<pad>"],
        "mm_tokens_per_image": 4,
        "hidden_size": 32,
        "vocab_size": len(ids),
        "text_config": {
            **TEXT,
            "model_type": "gemma3_text",
            "num_hidden_layers": 3,
            "head_dim": 16,
            "query_pre_attn_scalar": 16,
            "vocab_size": len(ids),
            "sliding_window": 8,
            "sliding_window_pattern": 3,
            "mm_tokens_per_image": 4,
        },
        "vision_config": {
            "model_type": "siglip_vision_model",
            "num_hidden_layers": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_attention_heads": 2,
            "patch_size": 8,
            "image_size": 32,
        },
    }


def _llava(ids: Ids) -> Json:
    return {
        "model_type": "llava",
        "architectures": ["LlavaForConditionalGeneration"],
        "image_token_index": ids["<image>"],
        "pad_token_id": ids["<pad>"],
        "eos_token_id": ids["</s>"],
        "vocab_size": len(ids),
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
        "text_config": {**TEXT, "model_type": "llama", "vocab_size": len(ids)},
        "vision_config": {
            "model_type": "clip_vision_model",
            "num_hidden_layers": 3,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_attention_heads": 2,
            "projection_dim": 32,
            "patch_size": 8,
            "image_size": 32,
            "vocab_size": len(ids),
        },
    }


def _smolvlm(ids: Ids) -> Json:
    return {
        "model_type": "smolvlm",
        "architectures": ["SmolVLMForConditionalGeneration"],
        "image_token_id": ids["<image>"],
        "eos_token_id": ids["<end_of_utterance>"],
        "pad_token_id": ids["<pad>"],
        "vocab_size": len(ids),
        "scale_factor": 2,
        "tie_word_embeddings": False,
        "text_config": {**TEXT, "model_type": "llama", "head_dim": 16, "vocab_size": len(ids), "rope_theta": 10000.0},
        "vision_config": {
            "model_type": "smolvlm_vision",
            "num_hidden_layers": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_attention_heads": 2,
            "patch_size": 8,
            "image_size": 32,
        },
    }


def _pixtral_vision() -> Json:
    return {
        "model_type": "pixtral",
        "num_hidden_layers": 2,
        "hidden_size": 32,
        "head_dim": 16,
        "intermediate_size": 64,
        "num_attention_heads": 2,
        "patch_size": 8,
        "image_size": 64,
        "rope_theta": 10000.0,
    }


def _mistral3(ids: Ids) -> Json:
    return {
        "model_type": "mistral3",
        "architectures": ["Mistral3ForConditionalGeneration"],
        "image_token_index": ids["[IMG]"],
        "eos_token_id": ids["</s>"],
        "vocab_size": len(ids),
        "spatial_merge_size": 2,
        "vision_feature_layer": -1,
        "multimodal_projector_bias": False,
        "text_config": {
            **TEXT,
            "model_type": "mistral",
            "head_dim": 16,
            "vocab_size": len(ids),
            "rope_theta": 10000.0,
        },
        "vision_config": _pixtral_vision(),
    }


def _pixtral(ids: Ids) -> Json:
    return {
        "model_type": "pixtral",
        "architectures": ["LlavaForConditionalGeneration"],
        "image_token_index": ids["[IMG]"],
        "eos_token_id": ids["</s>"],
        "vocab_size": len(ids),
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "full",
        "text_config": {
            **TEXT,
            "model_type": "mistral",
            "head_dim": 16,
            "vocab_size": len(ids),
            "rope_theta": 10000.0,
        },
        "vision_config": _pixtral_vision(),
    }


def _qwen3_5(ids: Ids) -> Json:
    """A layer of linear attention, whose state has a fixed size, and one of full attention."""
    return {
        "model_type": "qwen3_5",
        "architectures": ["Qwen3_5ForConditionalGeneration"],
        **_qwen_ids(ids),
        "tie_word_embeddings": False,
        "text_config": {
            **TEXT,
            "model_type": "qwen3_5_text",
            "head_dim": 16,
            "vocab_size": len(ids),
            "full_attention_interval": 2,
            "linear_num_value_heads": 2,
            "linear_num_key_heads": 2,
            "linear_key_head_dim": 32,
            "linear_value_head_dim": 32,
            "linear_conv_kernel_dim": 4,
            "tie_word_embeddings": False,
            "rope_parameters": {
                "rope_type": "default",
                "mrope_section": [2, 1, 1],
                "mrope_interleaved": True,
                "rope_theta": 10000.0,
                "partial_rotary_factor": 0.5,
            },
        },
        "vision_config": {
            "model_type": "qwen3_5",
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "out_hidden_size": 32,
            "num_heads": 2,
            "patch_size": 8,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "in_channels": 3,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [],
        },
    }


def _gemma4(ids: Ids) -> Json:
    """Tokens of an image attend to each other, each layer has its own inputs, and the last layer has no cache."""
    return {
        "model_type": "gemma4",
        "architectures": ["Gemma4ForConditionalGeneration"],
        "image_token_id": ids["<|image|>"],
        "video_token_id": ids["<|video|>"],
        "audio_token_id": ids["<|audio|>"],
        "boi_token_id": ids["<|image>"],
        "eoi_token_id": ids["<image|>"],
        "eos_token_id": [ids["<eos>"], ids["<turn|>"]],
        "pad_token_id": ids["<pad>"],
        "audio_config": None,
        "hidden_size": 32,
        "vocab_size": len(ids),
        "vision_soft_tokens_per_image": 16,
        "text_config": {
            **TEXT,
            "model_type": "gemma4_text",
            "num_hidden_layers": 4,
            "head_dim": 16,
            "global_head_dim": 16,
            "vocab_size": len(ids),
            "vocab_size_per_layer_input": len(ids),
            "hidden_size_per_layer_input": 8,
            "num_kv_shared_layers": 1,
            "layer_types": ["sliding_attention", "sliding_attention", "full_attention", "full_attention"],
            "sliding_window": 8,
            "use_bidirectional_attention": "vision",
        },
        "vision_config": {
            "model_type": "gemma4_vision",
            "num_hidden_layers": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "global_head_dim": 16,
            "patch_size": 8,
            "position_embedding_size": 256,
            "pooling_kernel_size": 2,
            "default_output_length": 16,
        },
    }


def _lfm2_vl(ids: Ids) -> Json:
    """A convolution layer, whose state has a fixed size, between two attention layers."""
    return {
        "model_type": "lfm2_vl",
        "architectures": ["Lfm2VlForConditionalGeneration"],
        "image_token_id": ids["<image>"],
        "eos_token_id": ids["<|im_end|>"],
        "downsample_factor": 2,
        "encoder_patch_size": 8,
        "tile_size": 32,
        "min_image_tokens": 1,
        "max_image_tokens": 4,
        "projector_hidden_size": 64,
        "projector_use_layernorm": True,
        "vision_feature_layer": -1,
        "text_config": {
            **TEXT,
            "model_type": "lfm2",
            "num_hidden_layers": 3,
            "vocab_size": len(ids),
            "eos_token_id": ids["<|im_end|>"],
            "norm_eps": 1e-6,
            "conv_bias": False,
            "conv_L_cache": 3,
            "conv_dim": 32,
            "conv_dim_out": 32,
            "block_dim": 32,
            "block_ff_dim": 64,
            "block_multiple_of": 8,
            "block_auto_adjust_ff_dim": False,
            "num_heads": 2,
            "rope_theta": 10000.0,
            "layer_types": ["full_attention", "conv", "full_attention"],
            "tie_word_embeddings": False,
        },
        "vision_config": {
            "model_type": "siglip2_vision_model",
            "num_hidden_layers": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_attention_heads": 2,
            "patch_size": 8,
            "num_patches": 16,
        },
    }


def _qwen_ids(ids: Ids) -> Json:
    return {
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "eos_token_id": ids["<|im_end|>"],
        "vocab_size": len(ids),
    }


QWEN_PATCHES = {"patch_size": 8, "temporal_patch_size": 2, "merge_size": 2, **HALF}
QWEN_SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
QWEN3_FILES: tuple[tuple[str, Json], ...] = (
    (
        "preprocessor_config.json",
        {
            "image_processor_type": "Qwen2VLImageProcessorFast",
            "processor_class": "Qwen3VLProcessor",
            **QWEN_PATCHES,
            "size": {"shortest_edge": 32 * 32, "longest_edge": 64 * 64},
        },
    ),
    (
        "video_preprocessor_config.json",
        {
            "video_processor_type": "Qwen3VLVideoProcessor",
            "processor_class": "Qwen3VLProcessor",
            **QWEN_PATCHES,
            "size": {"shortest_edge": 32 * 32, "longest_edge": 8 * 64 * 64},
            "fps": 2,
            "min_frames": 4,
            "max_frames": 64,
        },
    ),
)
MISTRAL_SPECIAL = (
    "<pad>",
    "<s>",
    "</s>",
    "[INST]",
    "[/INST]",
    "[IMG]",
    "[IMG_BREAK]",
    "[IMG_END]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
)
TIED_HEADS = {"gemma3"}
"""mlx-vlm always uses the embeddings as these heads. The real files have no head."""
PIXTRAL_IMAGES = {"size": {"longest_edge": 64}, "do_resize": True, **HALF}

_FAMILIES: dict[str, _Family] = {
    "qwen2_5_vl": _Family(
        config=_qwen2_5_vl,
        special=QWEN_SPECIAL,
        pad="<|endoftext|>",
        end="<|im_end|>",
        template=QWEN2_TEMPLATE,
        template_file="chat_template.json",
        files=(
            (
                "preprocessor_config.json",
                {
                    "image_processor_type": "Qwen2VLImageProcessor",
                    "processor_class": "Qwen2_5_VLProcessor",
                    **QWEN_PATCHES,
                    "min_pixels": 32 * 32,
                    "max_pixels": 64 * 64,
                },
            ),
        ),
    ),
    "qwen3_vl": _Family(
        config=_qwen3_vl,
        special=QWEN_SPECIAL,
        pad="<|endoftext|>",
        end="<|im_end|>",
        template=QWEN_TEMPLATE,
        files=QWEN3_FILES,
    ),
    "qwen3_5": _Family(
        config=_qwen3_5,
        special=QWEN_SPECIAL,
        pad="<|endoftext|>",
        end="<|im_end|>",
        template=QWEN_TEMPLATE,
        files=QWEN3_FILES,
    ),
    "gemma3": _Family(
        config=_gemma3,
        special=(
            "<pad>",
            "<eos>",
            "<bos>",
            "<start_of_turn>",
            "<end_of_turn>",
            "<start_of_image>",
            "<end_of_image>",
            "<image_soft_token>",
        ),
        pad="<pad>",
        end="<eos>",
        begin="<bos>",
        adds_begin=True,
        named_tokens=(
            ("boi_token", "<start_of_image>"),
            ("eoi_token", "<end_of_image>"),
            ("image_token", "<image_soft_token>"),
        ),
        template=GEMMA3_TEMPLATE,
        files=(
            ("processor_config.json", {"processor_class": "Gemma3Processor", "image_seq_length": 4}),
            (
                "preprocessor_config.json",
                {
                    "image_processor_type": "Gemma3ImageProcessor",
                    "processor_class": "Gemma3Processor",
                    "do_pan_and_scan": None,
                    "image_seq_length": 4,
                    "resample": 2,
                    "size": {"height": 32, "width": 32},
                    **HALF,
                },
            ),
        ),
    ),
    "llava": _Family(
        config=_llava,
        special=("<pad>", "<unk>", "<s>", "</s>", "<image>"),
        pad="<pad>",
        end="</s>",
        begin="<s>",
        adds_begin=True,
        template=LLAVA_TEMPLATE,
        template_file="chat_template.json",
        files=(
            (
                "processor_config.json",
                {
                    "processor_class": "LlavaProcessor",
                    "image_token": "<image>",
                    "num_additional_image_tokens": 1,
                    "patch_size": 8,
                    "vision_feature_select_strategy": "default",
                },
            ),
            (
                "preprocessor_config.json",
                {
                    "image_processor_type": "CLIPImageProcessor",
                    "processor_class": "LlavaProcessor",
                    "do_center_crop": True,
                    "size": {"shortest_edge": 32},
                    "crop_size": {"height": 32, "width": 32},
                    **HALF,
                },
            ),
        ),
    ),
    "smolvlm": _Family(
        config=_smolvlm,
        special=(
            "<pad>",
            "<|im_start|>",
            "<end_of_utterance>",
            "<fake_token_around_image>",
            "<image>",
            "<global-img>",
            *(f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)),
        ),
        pad="<pad>",
        end="<end_of_utterance>",
        begin="<|im_start|>",
        named_tokens=(
            ("fake_image_token", "<fake_token_around_image>"),
            ("image_token", "<image>"),
            ("global_image_token", "<global-img>"),
            ("end_of_utterance_token", "<end_of_utterance>"),
        ),
        template=SMOLVLM_TEMPLATE,
        files=(
            ("processor_config.json", {"processor_class": "SmolVLMProcessor", "image_seq_len": 4}),
            (
                "preprocessor_config.json",
                {
                    "image_processor_type": "SmolVLMImageProcessor",
                    "processor_class": "SmolVLMProcessor",
                    "do_image_splitting": True,
                    "size": {"longest_edge": 64},
                    "max_image_size": {"longest_edge": 32},
                    **HALF,
                },
            ),
        ),
    ),
    "mistral3": _Family(
        config=_mistral3,
        special=MISTRAL_SPECIAL,
        pad="<pad>",
        end="</s>",
        begin="<s>",
        adds_begin=True,
        template=MISTRAL3_TEMPLATE,
        files=(
            (
                "processor_config.json",
                {
                    "processor_class": "PixtralProcessor",
                    "image_token": "[IMG]",
                    "image_break_token": "[IMG_BREAK]",
                    "image_end_token": "[IMG_END]",
                    "patch_size": 8,
                    "spatial_merge_size": 2,
                },
            ),
            (
                "preprocessor_config.json",
                {
                    "image_processor_type": "PixtralImageProcessorFast",
                    "processor_class": "PixtralProcessor",
                    "patch_size": 8,
                    **PIXTRAL_IMAGES,
                },
            ),
        ),
    ),
    "pixtral": _Family(
        config=_pixtral,
        special=MISTRAL_SPECIAL[:8],
        pad="<pad>",
        end="</s>",
        begin="<s>",
        adds_begin=True,
        template=PIXTRAL_TEMPLATE,
        template_file="chat_template.json",
        files=(
            (
                "processor_config.json",
                {
                    "processor_class": "PixtralProcessor",
                    "image_token": "[IMG]",
                    "image_break_token": "[IMG_BREAK]",
                    "image_end_token": "[IMG_END]",
                    "patch_size": 8,
                },
            ),
            (
                "preprocessor_config.json",
                {
                    "image_processor_type": "PixtralImageProcessor",
                    "processor_class": "PixtralProcessor",
                    "patch_size": {"height": 8, "width": 8},
                    **PIXTRAL_IMAGES,
                },
            ),
        ),
    ),
    "gemma4": _Family(
        config=_gemma4,
        special=(
            "<pad>",
            "<eos>",
            "<bos>",
            "<|turn>",
            "<turn|>",
            "<|image>",
            "<|image|>",
            "<image|>",
            "<|video|>",
            "<|audio>",
            "<|audio|>",
            "<audio|>",
        ),
        pad="<pad>",
        end="<eos>",
        begin="<bos>",
        adds_begin=True,
        named_tokens=(
            ("boi_token", "<|image>"),
            ("image_token", "<|image|>"),
            ("eoi_token", "<image|>"),
            ("boa_token", "<|audio>"),
            ("audio_token", "<|audio|>"),
            ("eoa_token", "<audio|>"),
        ),
        template=GEMMA4_TEMPLATE,
        files=(
            (
                "processor_config.json",
                {
                    "processor_class": "Gemma4Processor",
                    "image_seq_length": 16,
                    "feature_extractor": {"feature_extractor_type": "Gemma4AudioFeatureExtractor", "feature_size": 32},
                    "image_processor": {
                        "image_processor_type": "Gemma4ImageProcessor",
                        "patch_size": 8,
                        "max_soft_tokens": 16,
                        "pooling_kernel_size": 2,
                    },
                    "video_processor": {
                        "video_processor_type": "Gemma4VideoProcessor",
                        "patch_size": 8,
                        "max_soft_tokens": 70,
                        "pooling_kernel_size": 2,
                        "num_frames": 8,
                    },
                },
            ),
        ),
    ),
    "lfm2_vl": _Family(
        config=_lfm2_vl,
        special=(
            "<|pad|>",
            "<|startoftext|>",
            "<|im_start|>",
            "<|im_end|>",
            "<image>",
            "<|image_start|>",
            "<|image_end|>",
            "<|img_thumbnail|>",
            *(
                f"<|img_row_{row}_col_{column}|>"
                for row in range(1, 11)
                for column in range(1, 11)
                if row * column < 11
            ),
        ),
        pad="<|pad|>",
        end="<|im_end|>",
        begin="<|startoftext|>",
        adds_begin=True,
        named_tokens=(
            ("image_token", "<image>"),
            ("image_start_token", "<|image_start|>"),
            ("image_end_token", "<|image_end|>"),
            ("image_thumbnail", "<|img_thumbnail|>"),
        ),
        template=LFM2_TEMPLATE,
        files=(
            ("processor_config.json", {"processor_class": "Lfm2VlProcessor", "use_image_special_tokens": True}),
            (
                "preprocessor_config.json",
                {
                    "image_processor_type": "Lfm2VlImageProcessorFast",
                    "processor_class": "Lfm2VlProcessor",
                    "downsample_factor": 2,
                    "encoder_patch_size": 8,
                    "tile_size": 32,
                    "min_image_tokens": 1,
                    "max_image_tokens": 4,
                    "resample": 2,
                    **HALF,
                },
            ),
        ),
    ),
}

FAMILIES: tuple[str, ...] = tuple(_FAMILIES)
TAKES_VIDEO: frozenset[str] = frozenset({"qwen2_5_vl", "qwen3_vl", "qwen3_5", "gemma4"})
TAKES_STRINGS: frozenset[str] = frozenset(FAMILIES) - {"llava", "smolvlm"}
"""Families whose template renders content that is a string. The others omit it."""
IN_ONE_PASS: frozenset[str] = frozenset({"gemma4"})
"""Families whose image tokens attend to each other, so that the first chunk of a prompt must contain all images."""
IMAGE_TOKENS: dict[str, str] = {
    "qwen2_5_vl": "<|image_pad|>",
    "qwen3_vl": "<|image_pad|>",
    "qwen3_5": "<|image_pad|>",
    "gemma3": "<image_soft_token>",
    "gemma4": "<|image|>",
    "lfm2_vl": "<image>",
    "llava": "<image>",
    "smolvlm": "<image>",
    "mistral3": "[IMG]",
    "pixtral": "[IMG]",
}
"""The token that the processor inserts for each feature of an image."""


def build(family: str, folder: Path, seed: int = 0) -> Path:
    """Write the model into `folder`, which is created if necessary. Returns the folder."""
    parts = _FAMILIES[family]
    folder.mkdir(parents=True, exist_ok=True)
    ids = _write_tokenizer(parts, folder)
    config = {**parts.config(ids), "torch_dtype": "float32"}
    _write_json(folder / "config.json", config)
    generation = {"eos_token_id": config["eos_token_id"], "pad_token_id": ids[parts.pad]}
    _write_json(folder / "generation_config.json", generation)
    for name, content in parts.files:
        _write_json(folder / name, content)
    if parts.template_file.endswith(".json"):
        _write_json(folder / parts.template_file, {"chat_template": parts.template})
    else:
        (folder / parts.template_file).write_text(parts.template, encoding="utf-8")
    weights = _weights(config, ids, seed)
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
    index = {"metadata": {}, "weight_map": dict.fromkeys(sorted(weights), "model.safetensors")}
    _write_json(folder / "model.safetensors.index.json", index)
    return folder


def _write_tokenizer(parts: _Family, folder: Path) -> Ids:
    """Write a tokenizer with a token for each byte after the special tokens. Returns the ids of all tokens."""
    ids = {token: index for index, token in enumerate((*parts.special, *sorted(pre_tokenizers.ByteLevel.alphabet())))}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(parts.special))
    if parts.adds_begin:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{parts.begin} $A", special_tokens=[(parts.begin, ids[str(parts.begin)])]
        )
    tokenizer.save(str(folder / "tokenizer.json"))
    named = dict(parts.named_tokens)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": parts.end,
        "pad_token": parts.pad,
        "padding_side": "left",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 4096,
        **({} if parts.begin is None else {"bos_token": parts.begin}),
        **({"extra_special_tokens": named} if named else {}),
    }
    _write_json(folder / "tokenizer_config.json", config)
    return ids


def _weights(config: Json, ids: Ids, seed: int) -> dict[str, mx.array]:
    """Matrices of noise from `seed`. The rows of tokens that must not be generated are small."""
    config = json.loads(json.dumps(config))  # mlx-vlm modifies its argument
    model_class, _ = get_model_and_args(config)
    config.setdefault("text_config", {})
    model_config = update_module_configs(
        model_class.ModelConfig.from_dict(config), model_class, config, ["text", "vision"]
    )
    weights = dict(tree_flatten(model_class.Model(model_config).parameters()))
    if config["model_type"] in TIED_HEADS:
        weights.pop("language_model.lm_head.weight", None)
    has_head = any("lm_head" in name for name in weights)
    printable = mx.array([[1.0 if len(token) == 1 and " " < token <= "~" else 0.01] for token in ids])
    for key, name in zip(mx.random.split(mx.random.key(seed), len(weights)), sorted(weights), strict=True):
        weight = weights[name]
        if weight.ndim < 2:
            if name.endswith(("bias", "A_log")):
                weights[name] = mx.random.normal(weight.shape, key=key) * 0.1
            continue
        fan_in = weight.shape[0] if name.endswith("input_projection_weight") else weight.size // weight.shape[0]
        wide = (
            1.0 if name.endswith(("q_proj.weight", "k_proj.weight")) else 2.0
        )  # a small spread attends to many tokens
        noise = mx.random.normal(weight.shape, key=key) * (wide / fan_in**0.5)
        if "lm_head" in name:
            noise *= 4 * printable  # the best token is far ahead of the second best
        elif "embed_tokens.weight" in name and not has_head:
            noise *= printable / 2  # otherwise the model repeats its input
        weights[name] = noise
    mx.eval(weights)
    return weights


def _write_json(path: Path, content: Json) -> None:
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
