"""The settings of the service, from the environment and `.env`."""

from __future__ import annotations

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """The settings of the service."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore")

    DEBUG: bool = True
    PROJECT_NAME: str = "Shop"
    FRONTEND_URL: str = "http://localhost:3000"
    SECRET_KEY: str = "a-secret-key-of-the-service-itself-long-enough"

    REDIS_HOST: str = "localhost"
    REDIS_PORT: int = 6379
    REDIS_DB: int = 0
    #: RabbitMQ, or a Redis of its own; empty for the Redis above.
    CELERY_BROKER_URL: str = ""
    CELERY_RESULT_BACKEND: str = ""
    CELERY_RESULT_EXPIRES: int = 3600
    CELERY_TASK_IGNORE_RESULT: bool = False

    EMAIL_ENABLED: bool = False
    EMAIL_HOST: str = "localhost"
    EMAIL_PORT: int = 587
    EMAIL_FROM_ADDRESS: str = "noreply@example.com"

    #: `recorded` for a service that records its tasks; `removed` for one that has deleted them.
    SERVICE_TASKS: str = "kept"
    #: The file of its users; SQLite.
    SERVICE_DATABASE: str = "service.db"

    @property
    def broker_url(self) -> str:
        """The broker: in memory while developing."""
        return self.CELERY_BROKER_URL or ("memory://" if self.DEBUG else self._redis_url)

    @property
    def result_backend(self) -> str:
        """The result backend: in memory while developing."""
        return self.CELERY_RESULT_BACKEND or ("cache+memory://" if self.DEBUG else self._redis_url)

    @property
    def _redis_url(self) -> str:
        return f"redis://{self.REDIS_HOST}:{self.REDIS_PORT}/{self.REDIS_DB}"


settings = Settings()
