terraform {
  required_version = ">= 1.5"

  required_providers {
    docker = {
      source  = "kreuzwerker/docker"
      version = ">= 3.1, < 5.0"
    }
  }
}
