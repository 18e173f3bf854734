locals {
  # Fixed by the image: its port inside the container, folders of models and state, and user.
  container_port = 8001
  models_folder  = "/models"
  state_folder   = "/var/lib/llmcore"
  keys_file      = "/etc/llmcore/api-keys"

  # 0.0.0.0 and :: include loopback. IPv6 addresses need brackets.
  reachable = contains(["0.0.0.0", "::"], var.bind_address) ? "127.0.0.1" : var.bind_address
  url_host  = strcontains(local.reachable, ":") ? "[${local.reachable}]" : local.reachable

  environment = merge(
    var.environment,
    {
      HOST            = "0.0.0.0"
      PORT            = tostring(local.container_port)
      MODEL_NAME      = var.model_name
      MODEL_PATH      = "${local.models_folder}/${var.model_path}"
      LLMCORE_DRAIN_S = tostring(var.drain_s)
    },
    var.threads == null ? {} : { OMP_NUM_THREADS = tostring(var.threads) },
    var.api_keys_file == null ? {} : { LLMCORE_API_KEYS_FILE = local.keys_file },
  )
}

# Profiles measured on this machine. Without the volume, each new container would measure again.
resource "docker_volume" "state" {
  name = "${var.name}-state"
}

resource "docker_container" "llm" {
  name    = var.name
  image   = var.image
  command = ["serve"]
  env     = [for key, value in local.environment : "${key}=${value}"]

  restart        = var.restart
  wait           = var.wait
  wait_timeout   = var.wait_timeout_s
  stop_signal    = "SIGTERM"
  stop_timeout   = var.drain_s + 15
  remove_volumes = false
  # Terraform stops a container before it destroys it, with this timeout.
  destroy_grace_seconds = var.drain_s + 15

  cpus        = tostring(var.cpus)
  memory      = var.memory_mb
  memory_swap = var.memory_mb

  read_only     = true
  tmpfs         = { "/tmp" = "size=256m" }
  security_opts = ["no-new-privileges:true"]

  capabilities {
    drop = ["ALL"]
  }

  ports {
    internal = local.container_port
    external = var.port
    ip       = var.bind_address
  }

  mounts {
    type      = "bind"
    source    = var.model_volume_path
    target    = local.models_folder
    read_only = true
  }

  mounts {
    type   = "volume"
    source = docker_volume.state.name
    target = local.state_folder
  }

  dynamic "mounts" {
    for_each = var.api_keys_file == null ? [] : [var.api_keys_file]
    content {
      type      = "bind"
      source    = mounts.value
      target    = local.keys_file
      read_only = true
    }
  }

  dynamic "networks_advanced" {
    for_each = var.network_names
    content {
      name    = networks_advanced.value
      aliases = [var.name]
    }
  }

  healthcheck {
    test         = ["CMD", "healthcheck.py"]
    interval     = var.healthcheck.interval
    timeout      = var.healthcheck.timeout
    retries      = var.healthcheck.retries
    start_period = var.healthcheck.start_period
  }
}
